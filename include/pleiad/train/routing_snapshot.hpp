// The routing of one whole global batch, gathered on rank 0 to be recorded.
#pragma once
#include <span>
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::train {

/// Tokens in global order, entries of a token in the order of its list; the same on any number of ranks.
struct RoutingSnapshot {
  struct Layer {
    std::vector<std::int32_t> count;    ///< [T] entries of each token
    std::vector<std::int32_t> expert;   ///< [sum of count]
    std::vector<float> weight;          ///< before the capacity, never rescaled
    std::vector<std::uint8_t> kept;     ///< 0: over the capacity
  };
  std::vector<std::int32_t> tokens;     ///< [T] input
  std::vector<Layer> layers;
};

/// Empty except on rank 0. collective.
RoutingSnapshot gather_routing(const comm::Communicator& world, std::span<const std::int32_t> tokens, const std::vector<const routing::Assignment*>& layers);

}  // namespace pleiad::train
