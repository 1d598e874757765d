#include "pleiad/comm/collectives.hpp"

#include <limits>
#include <numeric>

#include "pleiad/comm/datatype.hpp"
#include "pleiad/comm/error.hpp"

namespace pleiad::comm {

namespace {

int narrow(i64 count, const char* what) {
  PLEIAD_CHECK(count >= 0 && count <= std::numeric_limits<int>::max(), "{}: {} elements do not fit one MPI message", what, count);
  return static_cast<int>(count);
}

struct CountsAndPlaces {
  std::vector<int> counts, places;
  CountsAndPlaces(std::span<const i64> rows, const char* what) {
    i64 at = 0;
    for (const i64 n : rows) {
      counts.push_back(narrow(n, what));
      places.push_back(narrow(at, what));
      at += n;
    }
  }
};

template <class T>
void all_reduce(const Communicator& comm, std::span<T> values, MPI_Op op) {
  if (comm.size() == 1) return;
  PLEIAD_MPI(MPI_Allreduce, MPI_IN_PLACE, values.data(), narrow(static_cast<i64>(values.size()), "all_reduce"), mpi_type<T>(), op,
             comm.native());
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
  PLEIAD_MPI(MPI_Bcast, values.data(), narrow(static_cast<i64>(values.size()), "broadcast"), mpi_type<T>(), static_cast<int>(root),
             comm.native());
}

std::string broadcast(const Communicator& comm, const std::string& text, i64 root) {
  i64 size = static_cast<i64>(text.size());
  broadcast(comm, std::span<i64>(&size, 1), root);
  std::string out = text;
  out.resize(static_cast<std::size_t>(size));
  broadcast(comm, std::span<char>(out.data(), out.size()), root);
  return out;
}

template <class T>
std::vector<T> all_gather(const Communicator& comm, std::span<const T> values) {
  std::vector<T> all(values.size() * static_cast<std::size_t>(comm.size()));
  const int count = narrow(static_cast<i64>(values.size()), "all_gather");
  PLEIAD_MPI(MPI_Allgather, values.data(), count, mpi_type<T>(), all.data(), count, mpi_type<T>(), comm.native());
  return all;
}

template <class T>
std::vector<T> all_gather_v(const Communicator& comm, std::span<const T> values, std::vector<i64>* counts) {
  const i64 mine = static_cast<i64>(values.size());
  const std::vector<i64> each = all_gather<i64>(comm, std::span<const i64>(&mine, 1));
  const CountsAndPlaces from(each, "all_gather_v");
  std::vector<T> all(static_cast<std::size_t>(std::accumulate(each.begin(), each.end(), i64{0})));
  PLEIAD_MPI(MPI_Allgatherv, values.data(), narrow(mine, "all_gather_v"), mpi_type<T>(), all.data(), from.counts.data(),
             from.places.data(), mpi_type<T>(), comm.native());
  if (counts) *counts = each;
  return all;
}

std::vector<i64> all_to_all_counts(const Communicator& comm, std::span<const i64> send, i64 each) {
  PLEIAD_CHECK(static_cast<i64>(send.size()) == comm.size() * each, "{} counts for {} ranks", send.size(), comm.size());
  std::vector<i64> recv(send.size());
  const int n = narrow(each, "all_to_all_counts");
  PLEIAD_MPI(MPI_Alltoall, send.data(), n, MPI_INT64_T, recv.data(), n, MPI_INT64_T, comm.native());
  return recv;
}

template <class T>
void all_to_all_rows(const Communicator& comm, const T* send, std::span<const i64> send_rows, T* recv,
                     std::span<const i64> recv_rows, i64 width) {
  const RowType row(mpi_type<T>(), width);
  const CountsAndPlaces out(send_rows, "all_to_all_rows"), in(recv_rows, "all_to_all_rows");
  PLEIAD_MPI(MPI_Alltoallv, send, out.counts.data(), out.places.data(), row.native(), recv, in.counts.data(), in.places.data(),
             row.native(), comm.native());
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
