#include "pleiad/train/routing_snapshot.hpp"

#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::train {

namespace {

/// Values of all ranks, in rank order, on rank 0; elsewhere nothing.
template <class T>
std::vector<T> at_root(const comm::Communicator& world, const std::vector<T>& mine) {
  std::vector<i64> send(static_cast<std::size_t>(world.size()), 0);
  send[0] = static_cast<i64>(mine.size());
  const std::vector<i64> recv = comm::all_to_all_counts(world, send);
  std::vector<T> all(static_cast<std::size_t>(std::accumulate(recv.begin(), recv.end(), i64{0})));
  comm::all_to_all_rows<T>(world, mine.data(), send, all.data(), recv, 1);
  return all;
}

}  // namespace

RoutingSnapshot gather_routing(const comm::Communicator& world, std::span<const std::int32_t> tokens, const std::vector<const routing::Assignment*>& layers) {
  RoutingSnapshot all;
  all.tokens = at_root(world, std::vector<std::int32_t>(tokens.begin(), tokens.end()));
  for (const routing::Assignment* a : layers) {
    std::vector<std::int32_t> count;
    for (i64 t = 0; t < a->tokens(); ++t) count.push_back(static_cast<std::int32_t>(a->offset[t + 1] - a->offset[t]));
    all.layers.push_back({at_root(world, count), at_root(world, a->expert), at_root(world, std::vector<float>(a->weight.begin(), a->weight.end())),
                          at_root(world, a->kept)});
  }
  return all;
}

}  // namespace pleiad::train
