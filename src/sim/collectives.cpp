#include "pleiad/sim/collectives.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/sim/links.hpp"

namespace pleiad::sim {

double all_reduce_seconds(const Cluster& c, i64 all_ranks, double bytes) {
  if (all_ranks == 1) return 0;
  const Network& n = c.network;
  const double ranks = static_cast<double>(all_ranks), nodes = static_cast<double>(c.nodes), here = static_cast<double>(std::min(c.ranks_per_node, all_ranks));
  const double rounds = std::ceil(std::log2(nodes)), rounds_in = std::ceil(std::log2(here)), far = nodes > 1 ? longest_latency(n, c.nodes) : 0;
  const auto within = [&](double b) { return here > 1 ? n.within_latency + b / n.within_bandwidth : 0; };
  const double doubling = 2 * (rounds + rounds_in) * n.message_seconds + rounds_in * within(bytes) + (rounds > 0 ? rounds * (far + here * bytes / n.nic_bandwidth) : 0);
  // Around a ring twice, a slice at a time; of the ranks of a node one sends to the next node.
  const double slice = bytes / ranks, link = std::max(within(slice), nodes > 1 ? far + slice / n.nic_bandwidth : 0);
  return std::min(doubling, 2 * (ranks - 1) * (2 * n.message_seconds + link));
}

double all_to_all_seconds(const Cluster& c, i64 all_ranks, double bytes) {
  if (all_ranks == 1) return 0;
  const Network& n = c.network;
  const double ranks = static_cast<double>(all_ranks), here = static_cast<double>(std::min(c.ranks_per_node, all_ranks)), far = ranks - here;
  const double latency = std::max(here > 1 ? n.within_latency : 0, far > 0 ? longest_latency(n, c.nodes) : 0);
  return latency + 2 * (ranks - 1) * n.message_seconds + (here > 1 ? (here - 1) * bytes / n.within_bandwidth : 0) + (far > 0 ? here * far * bytes / n.nic_bandwidth : 0);
}

}  // namespace pleiad::sim
