#include "pleiad/exchange/node_layout.hpp"

#include <map>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::exchange {

NodeLayout::NodeLayout(const std::vector<i64>& node_of_rank) {
  std::map<i64, i64> number;
  for (std::size_t r = 0; r < node_of_rank.size(); ++r) {
    const i64 node = number.emplace(node_of_rank[r], static_cast<i64>(number.size())).first->second;
    if (node == nodes()) ranks_of_.emplace_back();
    node_of_.push_back(node);
    place_.push_back(static_cast<i64>(ranks_of(node).size()));
    ranks_of_[static_cast<std::size_t>(node)].push_back(static_cast<i64>(r));
  }
}

NodeLayout NodeLayout::of_size(i64 ranks, i64 each) {
  std::vector<i64> node;
  for (i64 r = 0; r < ranks; ++r) node.push_back(r / each);
  return NodeLayout(node);
}

i64 NodeLayout::port(i64 node, i64 other) const {
  const std::vector<i64>& ranks = ranks_of(node);
  return ranks[static_cast<std::size_t>(other) % ranks.size()];
}

NodeLayout nodes_of(const comm::Communicator& group) {
  const comm::Communicator node = group.node();
  i64 first = group.rank();  // the lowest rank of the node names it
  first = comm::min_over<i64>(node, first);
  return NodeLayout(comm::all_gather<i64>(group, std::span<const i64>(&first, 1)));
}

}  // namespace pleiad::exchange
