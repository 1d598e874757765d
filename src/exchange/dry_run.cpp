#include "pleiad/exchange/dry_run.hpp"

#include <utility>

namespace pleiad::exchange {

namespace {

/// What goes from whom to whom.
struct Amounts {
  i64 n;
  std::vector<Amount> all;
  explicit Amounts(i64 places) : n(places), all(static_cast<std::size_t>(places * places)) {}
  Amount& operator()(i64 from, i64 to) { return all[static_cast<std::size_t>(from * n + to)]; }
};

/// Fills the amounts between ranks and between nodes. A token counts once for each rank or node that needs it, in a node not for its own rank.
void count(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, const NodeLayout& nodes, bool to_all, Amounts& by_rank, Amounts& by_node) {
  std::vector<i64> last_rank(static_cast<std::size_t>(nodes.ranks()), -1), last_node(static_cast<std::size_t>(nodes.nodes()), -1);
  for (i64 from = 0; from < nodes.ranks(); ++from) {
    const Range mine = lanes.sequences_of(from);
    for (i64 to = 0; to_all && to < nodes.ranks(); ++to) by_rank(from, to).rows = mine.count * lanes.seq_len();
    for (i64 t = mine.begin * lanes.seq_len(); t < mine.end() * lanes.seq_len(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (!a.kept[i]) continue;
        const i64 to = map.owner(a.expert[i]), node = nodes.node_of(to);
        Amount &rank_pair = by_rank(from, to), &node_pair = by_node(nodes.node_of(from), node);
        ++rank_pair.entries;
        ++node_pair.entries;
        if (!to_all) rank_pair.rows += std::exchange(last_rank[to], t) != t;
        node_pair.rows += std::exchange(last_node[node], t) != t;
      }
    }
  }
}

}  // namespace

std::vector<Traffic> DryRunExchanger::traffic_per_rank(const routing::Assignment& a, const ExpertMap& own_map, const LaneLayout& lanes, i64 width,
                                                       std::vector<i64>* bytes_to) const {
  const i64 ranks = nodes_.ranks();
  const bool paired = bytes_to && ranks <= k_most_paired_ranks;
  Amounts by_rank(ranks), by_node(nodes_.nodes());
  count(a, own_map.for_owners(ranks), lanes, nodes_, kind_ == Kind::gather, by_rank, by_node);
  std::vector<Traffic> all(static_cast<std::size_t>(ranks));
  if (paired) bytes_to->assign(static_cast<std::size_t>(ranks * ranks), 0);
  const auto add = [&](i64 from, i64 to, const Traffic& t) {
    all[from] += t;
    if (paired) (*bytes_to)[from * ranks + to] += t.bytes();
  };
  const bool once_per_node = kind_ == Kind::hierarchical;
  for (i64 from = 0; from < ranks; ++from) {
    const i64 node = nodes_.node_of(from);
    for (i64 to = 0; to < ranks; ++to) {
      const bool near = nodes_.node_of(to) == node;
      if (to == from || (once_per_node && !near)) continue;
      const Way way = !near ? Way::messages_between : once_per_node ? Way::shared_memory : Way::messages_within;
      add(from, to, traffic_between_ranks(by_rank(from, to), by_rank(to, from), width, combine_, way));
    }
    for (i64 other = 0; once_per_node && other < nodes_.nodes(); ++other) {
      if (other == node || nodes_.port(node, other) != from) continue;
      const i64 here = static_cast<i64>(nodes_.ranks_of(node).size()), there = static_cast<i64>(nodes_.ranks_of(other).size());
      add(from, nodes_.port(other, node), traffic_between_nodes(by_node(node, other), by_node(other, node), here, there, width, combine_));
    }
  }
  return all;
}

ExchangePlan DryRunExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const {
  ExchangePlan plan = LocalExchanger::make_plan(a, map, lanes, width);
  const LaneLayout pretended(lanes.lanes(), lanes.sequences(), lanes.seq_len(), nodes_.ranks(), 0);
  for (const Traffic& t : traffic_per_rank(a, map, pretended, width, &plan.bytes_to)) plan.traffic += t;
  return plan;
}

}  // namespace pleiad::exchange
