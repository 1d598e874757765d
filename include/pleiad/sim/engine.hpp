// How long what nodes send to each other takes on the network of a cluster: the part of a prediction that there is more than one way to make.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pleiad/sim/links.hpp"

namespace pleiad::sim {

/// A flow between nodes, and the bytes of its unit. The flow must outlive it.
struct Transfer {
  const Flow* flow;
  double bytes;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const char* name() const = 0;
  /// Seconds, of each node of the cluster, from when all transfers are begun together until it has sent and got its part, latency not counted. loads: the same bytes by link.
  virtual std::vector<double> carry(const Cluster& cluster, std::span<const Transfer> transfers, const LinkLoads& loads) const = 0;
};

/// Names of the engines that this build has.
std::vector<std::string> engine_names();
/// analytic: a node is done when its interface is, and when the busiest link between switches is. UserError for another name.
std::unique_ptr<Engine> make_engine(const std::string& name);

}  // namespace pleiad::sim
