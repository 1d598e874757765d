// Bytes on the links of a cluster when nodes send to nodes, without a list of all pairs: what goes from node a to node b is a product of few factors.
// Letters: M nodes of the flow, Q profiles.
#pragma once
#include <string>
#include <vector>

#include "pleiad/sim/cluster.hpp"

namespace pleiad::sim {

/// From node a to node b (counted from first_node) go sum over p of from[a Q + p] to[b Q + p] units. What a node sends to itself is on no link.
struct Flow {
  i64 first_node = 0, nodes = 0, profiles = 1;
  std::vector<double> from, to;  ///< [M x Q]
  /// The same the other way.
  Flow reversed() const { return {first_node, nodes, profiles, to, from}; }
};

/// Adds the bytes that go from each node to each other one to bytes [places x places], `unit` to a unit of the flow. Where the flow is one of ranks, `each` of them are on a node, and nothing is
/// added between these.
void add_pairs(const Flow& flow, double unit, i64 places, i64 each, std::vector<double>& bytes);

class LinkLoads {
 public:
  /// Of a network of so many nodes. UserError if its topology would have too many links to count. The network must outlive this.
  LinkLoads(const Network& network, i64 nodes);
  /// `bytes`: of a unit of the flow. Paths: through the leaf or spine; between groups of a dragonfly over the one link from group to group; along the axes of a torus, the first one first,
  /// the shorter way round (half of it each way where both are as long).
  void add(const Flow& flow, double bytes);
  /// Adds `times` what another one of the same network has.
  void add(const LinkLoads& other, double times);

  /// Until the interface of a node has sent and received its bytes, one beside the other.
  double node_seconds(i64 node) const;
  /// Until the busiest link between switches or routers is done; 0 where there is none.
  double fabric_seconds() const;
  /// Bytes that leave a node, and that come to it.
  double out_bytes(i64 node) const { return kinds_[0].bytes[static_cast<std::size_t>(node)]; }
  double in_bytes(i64 node) const { return kinds_[1].bytes[static_cast<std::size_t>(node)]; }

  struct Link {
    std::string name;
    double bytes = 0, seconds = 0;
  };
  /// At most `count` links, the longest busy first; none without bytes.
  std::vector<Link> busiest(i64 count) const;

 private:
  struct Kind {
    double bandwidth;           // of each link
    std::vector<double> bytes;  // by link
  };
  void add_fat_tree(const Flow& flow, double bytes);
  void add_dragonfly(const Flow& flow, double bytes);
  void add_torus(const Flow& flow, double bytes);
  std::string name_of(std::size_t kind, std::size_t link) const;

  const Network& network_;
  i64 nodes_, groups_ = 0;    // leaves of a fat tree, groups of a dragonfly
  std::vector<Kind> kinds_;   // out and in of the nodes, then those of the topology
};

/// Time of a short message between nodes that lie as far from each other as can be.
double longest_latency(const Network& network, i64 nodes);

}  // namespace pleiad::sim
