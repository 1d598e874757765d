// The ways that messages take between the nodes of a network, pair by pair: for engines that follow every one of them. What LinkLoads counts in sums follows the same ways.
#pragma once
#include <vector>

#include "pleiad/sim/cluster.hpp"

namespace pleiad::sim {

/// A share of what goes from one node to another one, and the links it goes over, one after the other.
struct Route {
  double share = 1;
  std::vector<i64> links;
};

class Routes {
 public:
  /// Of a network of so many nodes. The network must outlive this.
  Routes(const Network& network, i64 nodes);
  /// Bytes per second of each link, one way. Links n and nodes + n are those out of node n and into it.
  const std::vector<double>& bandwidths() const { return bandwidths_; }
  /// Several where the ways round an axis of a torus are equally long. pre: two different nodes.
  std::vector<Route> between(i64 from, i64 to) const;
  /// The way back uses the same links, the other way.
  bool symmetric() const { return network_.topology != Topology::torus; }

 private:
  void add_torus(std::vector<Route>& routes, i64 from, i64 to) const;

  const Network& network_;
  i64 nodes_, groups_ = 0, local_ = 0, global_ = 0;  // leaves or groups; first link of each kind
  std::vector<double> bandwidths_;
};

}  // namespace pleiad::sim
