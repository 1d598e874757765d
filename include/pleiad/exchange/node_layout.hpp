// Which ranks of a group share a node, and which of them speak for it: between two nodes one rank of each exchanges all messages, another pair for
// another pair of nodes.
#pragma once
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::exchange {

class NodeLayout {
 public:
  /// A number for each rank, equal ones for ranks of one node; nodes are then counted in the order of their first ranks.
  explicit NodeLayout(const std::vector<i64>& node_of_rank);
  /// `ranks` ranks, `each` on a node, fewer on the last.
  static NodeLayout of_size(i64 ranks, i64 each);

  i64 nodes() const { return static_cast<i64>(ranks_of_.size()); }
  i64 ranks() const { return static_cast<i64>(node_of_.size()); }
  i64 node_of(i64 rank) const { return node_of_[static_cast<std::size_t>(rank)]; }
  /// Ascending.
  const std::vector<i64>& ranks_of(i64 node) const { return ranks_of_[static_cast<std::size_t>(node)]; }
  /// Place of a rank among those of its node.
  i64 place(i64 rank) const { return place_[static_cast<std::size_t>(rank)]; }
  /// The rank of `node` that exchanges messages with node `other`.
  i64 port(i64 node, i64 other) const;

 private:
  std::vector<i64> node_of_, place_;
  std::vector<std::vector<i64>> ranks_of_;
};

/// The nodes that the ranks of a group really are on. collective.
NodeLayout nodes_of(const comm::Communicator& group);

}  // namespace pleiad::exchange
