// What must cross from node to node when every token goes once to each node that has one of its experts, and how long raw messages of just
// these bytes take: the roof of an exchange between nodes. Letters: P ranks of the group.
#pragma once
#include "pleiad/bench/record.hpp"
#include "pleiad/core/expert_map.hpp"
#include "pleiad/exchange/node_layout.hpp"
#include "pleiad/exchange/plan.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::bench {

class LinkBench {
 public:
  /// Counts the kept assignments of all ranks. References must outlive this. collective.
  LinkBench(const comm::Communicator& group, const routing::Assignment& a, const ExpertMap& map, exchange::Combine combine, i64 width);

  const exchange::NodeLayout& nodes() const { return nodes_; }
  /// One message from each node to each other one, there, then home, between buffers that lie ready. collective.
  Timed timed();
  /// Bytes of rows on the busiest cable, the greater of its two directions, there and then home: no exchange takes less time than these.
  i64 bytes() const;
  /// Of all nodes, forward and backward: what an exchange in so many chunks that sends each token once counts as leaving its node.
  i64 counted_bytes(i64 chunks) const;

 private:
  struct Volume {
    i64 rows = 0, entries = 0;
  };
  /// What goes from the tokens of one node to the experts of another.
  const Volume& volume(i64 from, i64 to) const { return volumes_[static_cast<std::size_t>(from * nodes_.nodes() + to)]; }
  /// Rows from one node to another on the way there, and on the way home.
  i64 rows(i64 from, i64 to, bool there) const;
  void send_all(bool there);

  const comm::Communicator& group_;
  exchange::Combine combine_;
  i64 width_;
  exchange::NodeLayout nodes_;
  std::vector<Volume> volumes_;  // [nodes*nodes]
  std::vector<real> out_, in_;   // as long as the longest message
};

}  // namespace pleiad::bench
