// How long what nodes send to each other takes on the network of a cluster: the part of a prediction that there is more than one way to make.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pleiad/sim/links.hpp"

namespace pleiad::sim {

/// A flow between nodes, and the bytes of its unit. Flows must outlive it.
struct Transfer {
  const Flow* flow;
  double bytes;
  const Flow* ranks = nullptr;  ///< the same between ranks (first_node and nodes count those), as far as it is known
};

/// Up to so many ranks of a cluster flows between ranks are worth knowing.
inline constexpr i64 k_most_rank_pairs = 256;

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const char* name() const = 0;
  /// Seconds, of each node of the cluster, from when all transfers are begun together until it has sent and got its part, latency not counted. loads: the same bytes by link.
  virtual std::vector<double> carry(const Cluster& cluster, std::span<const Transfer> transfers, const LinkLoads& loads) const = 0;
};

/// Names of the engines.
std::vector<std::string> engine_names();
/// analytic: a node is done when its interface is, and when the busiest link between switches is. simgrid: all flows at once share links fairly, those between ranks where they are known,
/// otherwise those between nodes. UserError for another name, or where the program that simgrid needs was not built.
std::unique_ptr<Engine> make_engine(const std::string& name);
std::unique_ptr<Engine> make_simgrid_engine();

}  // namespace pleiad::sim
