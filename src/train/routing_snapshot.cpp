#include "pleiad/train/routing_snapshot.hpp"

#include "pleiad/comm/at_root.hpp"

namespace pleiad::train {

using comm::at_root;

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
