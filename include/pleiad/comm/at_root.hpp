// Values of all ranks on rank 0, for what is only to be written down there.
#pragma once
#include <numeric>
#include <vector>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::comm {

/// Any number of values from every rank, in rank order, on rank 0; elsewhere nothing. `counts` (if wanted) receives how many each gave.
/// collective.
template <class T>
std::vector<T> at_root(const Communicator& world, const std::vector<T>& mine, std::vector<i64>* counts = nullptr) {
  std::vector<i64> send(static_cast<std::size_t>(world.size()), 0);
  send[0] = static_cast<i64>(mine.size());
  const std::vector<i64> recv = all_to_all_counts(world, send);
  std::vector<T> all(static_cast<std::size_t>(std::accumulate(recv.begin(), recv.end(), i64{0})));
  all_to_all_rows<T>(world, mine.data(), send, all.data(), recv, 1);
  if (counts) *counts = recv;
  return all;
}

}  // namespace pleiad::comm
