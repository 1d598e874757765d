#include "pleiad/comm/collectives.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/datatype.hpp"
#include "pleiad/comm/error.hpp"
#include "pleiad/comm/limit.hpp"
#include "pleiad/comm/messages.hpp"

namespace pleiad::comm {

namespace {

constexpr int k_rows_tag = 41;

template <class T>
void all_reduce(const Communicator& comm, std::span<T> values, MPI_Op op) {
  if (comm.size() == 1) return;
  for_each_call(static_cast<i64>(values.size()), [&](i64 begin, i64 count) {
    PLEIAD_MPI(MPI_Allreduce, MPI_IN_PLACE, values.data() + begin, static_cast<int>(count), mpi_type<T>(), op, comm.native());
  });
}

}  // namespace

void barrier(const Communicator& comm) { PLEIAD_MPI(MPI_Barrier, comm.native()); }

template <class T>
void all_reduce_sum(const Communicator& comm, std::span<T> values) {
  all_reduce(comm, values, MPI_SUM);
}
template <class T>
void all_reduce_max(const Communicator& comm, std::span<T> values) {
  all_reduce(comm, values, MPI_MAX);
}
template <class T>
void all_reduce_min(const Communicator& comm, std::span<T> values) {
  all_reduce(comm, values, MPI_MIN);
}
template <class T>
T sum_over(const Communicator& comm, T value) {
  all_reduce_sum(comm, std::span<T>(&value, 1));
  return value;
}
template <class T>
T max_over(const Communicator& comm, T value) {
  all_reduce_max(comm, std::span<T>(&value, 1));
  return value;
}
template <class T>
T min_over(const Communicator& comm, T value) {
  all_reduce_min(comm, std::span<T>(&value, 1));
  return value;
}

template <class T>
void broadcast(const Communicator& comm, std::span<T> values, i64 root) {
  for_each_call(static_cast<i64>(values.size()), [&](i64 begin, i64 count) {
    PLEIAD_MPI(MPI_Bcast, values.data() + begin, static_cast<int>(count), mpi_type<T>(), static_cast<int>(root), comm.native());
  });
}

std::string broadcast(const Communicator& comm, const std::string& text, i64 root) {
  i64 size = static_cast<i64>(text.size());
  broadcast(comm, std::span<i64>(&size, 1), root);
  std::string out = text;
  out.resize(static_cast<std::size_t>(size));
  broadcast(comm, std::span<char>(out.data(), out.size()), root);
  return out;
}

namespace {

/// all_gather_v() where each[r] is known. Ranks pass on one after the other what is too much for one call.
template <class T>
std::vector<T> gather(const Communicator& comm, std::span<const T> values, std::span<const i64> each) {
  const i64 total = std::accumulate(each.begin(), each.end(), i64{0});
  std::vector<T> all(static_cast<std::size_t>(total));
  std::vector<i64> begin(each.size());
  std::exclusive_scan(each.begin(), each.end(), begin.begin(), i64{0});
  if (total > most_per_call) {
    std::ranges::copy(values, all.begin() + begin[static_cast<std::size_t>(comm.rank())]);
    for (std::size_t r = 0; r < each.size(); ++r) {
      broadcast(comm, std::span<T>(all.data() + begin[r], static_cast<std::size_t>(each[r])), static_cast<i64>(r));
    }
    return all;
  }
  const std::vector<int> counts(each.begin(), each.end()), places(begin.begin(), begin.end());
  PLEIAD_MPI(MPI_Allgatherv, values.data(), static_cast<int>(values.size()), mpi_type<T>(), all.data(), counts.data(), places.data(), mpi_type<T>(), comm.native());
  return all;
}

}  // namespace

template <class T>
std::vector<T> all_gather(const Communicator& comm, std::span<const T> values) {
  return gather(comm, values, std::vector<i64>(static_cast<std::size_t>(comm.size()), static_cast<i64>(values.size())));
}

template <class T>
std::vector<T> all_gather_v(const Communicator& comm, std::span<const T> values, std::vector<i64>* counts) {
  const i64 mine = static_cast<i64>(values.size());
  std::vector<i64> each = all_gather<i64>(comm, std::span<const i64>(&mine, 1));
  std::vector<T> all = gather(comm, values, each);
  if (counts) *counts = std::move(each);
  return all;
}

std::vector<i64> all_to_all_counts(const Communicator& comm, std::span<const i64> send, i64 each) {
  PLEIAD_CHECK(static_cast<i64>(send.size()) == comm.size() * each, "{} counts for {} ranks", send.size(), comm.size());
  std::vector<i64> recv(send.size());
  PLEIAD_CHECK(each <= most_per_call, "{} counts for each rank", each);
  const int n = static_cast<int>(each);
  PLEIAD_MPI(MPI_Alltoall, send.data(), n, MPI_INT64_T, recv.data(), n, MPI_INT64_T, comm.native());
  return recv;
}

template <class T>
void all_to_all_rows(const Communicator& comm, const T* send, std::span<const i64> send_rows, T* recv,
                     std::span<const i64> recv_rows, i64 width) {
  Messages messages(comm);
  const T* own = nullptr;
  for (i64 r = 0; r < comm.size(); send += send_rows[r++] * width) {
    if (r == comm.rank()) own = send;
    else if (send_rows[r] * width > 0) messages.send(r, k_rows_tag, {part(send, send_rows[r] * width)});
  }
  for (i64 r = 0; r < comm.size(); recv += recv_rows[r++] * width) {
    if (r == comm.rank()) std::copy_n(own, recv_rows[r] * width, recv);
    else if (recv_rows[r] * width > 0) messages.receive(r, k_rows_tag, {part(recv, recv_rows[r] * width)});
  }
  messages.wait();
}

#define PLEIAD_INSTANTIATE(T)                                                                  \
  template void all_reduce_sum<T>(const Communicator&, std::span<T>);                          \
  template void all_reduce_max<T>(const Communicator&, std::span<T>);                          \
  template void all_reduce_min<T>(const Communicator&, std::span<T>);                          \
  template T sum_over<T>(const Communicator&, T);                                              \
  template T max_over<T>(const Communicator&, T);                                              \
  template T min_over<T>(const Communicator&, T);                                              \
  template void broadcast<T>(const Communicator&, std::span<T>, i64);                          \
  template std::vector<T> all_gather<T>(const Communicator&, std::span<const T>);              \
  template std::vector<T> all_gather_v<T>(const Communicator&, std::span<const T>, std::vector<i64>*); \
  template void all_to_all_rows<T>(const Communicator&, const T*, std::span<const i64>, T*, std::span<const i64>, i64);
PLEIAD_INSTANTIATE(char)
PLEIAD_INSTANTIATE(std::uint8_t)
PLEIAD_INSTANTIATE(std::int32_t)
PLEIAD_INSTANTIATE(i64)
PLEIAD_INSTANTIATE(float)
PLEIAD_INSTANTIATE(double)
#undef PLEIAD_INSTANTIATE

}  // namespace pleiad::comm
