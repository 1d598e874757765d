// The dozen collectives we use, typed and checked. Every function here is collective over the communicator given.
// Counts are 64-bit; what is too much for one call of MPI goes in several (limit.hpp).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/matrix.hpp"

namespace pleiad::comm {

// T is one of char, std::uint8_t, std::int32_t, i64, float, double.

void barrier(const Communicator& comm);

/// Element-wise sum; exact for integers. For floats the order is MPI's: use lane_sum() where bits must not depend on ranks.
template <class T>
void all_reduce_sum(const Communicator& comm, std::span<T> values);
template <class T>
void all_reduce_max(const Communicator& comm, std::span<T> values);
template <class T>
void all_reduce_min(const Communicator& comm, std::span<T> values);
/// One-value forms.
template <class T>
T sum_over(const Communicator& comm, T value);
template <class T>
T max_over(const Communicator& comm, T value);
template <class T>
T min_over(const Communicator& comm, T value);

template <class T>
void broadcast(const Communicator& comm, std::span<T> values, i64 root = 0);
std::string broadcast(const Communicator& comm, const std::string& text, i64 root = 0);

/// `each` values from every rank, in rank order.
template <class T>
std::vector<T> all_gather(const Communicator& comm, std::span<const T> values);
/// Any number of values from every rank, in rank order; `counts` (if wanted) receives how many each gave.
template <class T>
std::vector<T> all_gather_v(const Communicator& comm, std::span<const T> values, std::vector<i64>* counts = nullptr);

/// One block of counts per rank: send holds `each` numbers for rank 0, then for rank 1, ...
std::vector<i64> all_to_all_counts(const Communicator& comm, std::span<const i64> send, i64 each = 1);

/// Rows of `width` elements: send_rows[r] rows go to rank r, in rank order without gaps; recv_rows[r] arrive from rank r.
/// pre: recv_rows[me] on rank r equals send_rows[r] on rank me (ExchangePlan checks it once).
template <class T>
void all_to_all_rows(const Communicator& comm, const T* send, std::span<const i64> send_rows, T* recv,
                     std::span<const i64> recv_rows, i64 width);

}  // namespace pleiad::comm
