// Clusters for tests: round numbers, so that answers can be computed by hand.
#pragma once
#include "pleiad/sim/cluster.hpp"

namespace pleiad::sim {

/// 1 GFLOP/s for every product, 1 GB/s of everything, no latencies and no costs of calls: a rank takes as many nanoseconds as there is work.
inline Cluster unit_cluster(i64 nodes, i64 ranks_per_node) {
  Cluster c;
  c.name = "unit";
  c.nodes = nodes;
  c.ranks_per_node = c.cores = ranks_per_node;
  const RateTable flat({1, 1 << 20}, {1, 1 << 20}, {1e9, 1e9, 1e9, 1e9});
  c.compute = {.gemm = flat, .gradient = flat, .bf16 = {}, .attention = {}, .elements = 1e9, .route_seconds = 0, .plan_seconds = 0, .call_seconds = 0};
  c.memory = {.stream = 1e9, .cached = {}, .copy = 1e9, .random = RateTable({1, 1 << 20}, {1}, {1e9, 1e9})};
  c.network.within_bandwidth = c.network.nic_bandwidth = 1e9;
  c.slowness.assign(static_cast<std::size_t>(nodes), 1.0);
  return c;
}

}  // namespace pleiad::sim
