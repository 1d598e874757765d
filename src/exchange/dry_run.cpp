#include "pleiad/exchange/dry_run.hpp"

#include <algorithm>
#include <bit>

#include "pleiad/exchange/chunks.hpp"

namespace pleiad::exchange {

namespace {

/// What goes from one place to another, and in which chunks (bits): rows, single results, sums.
struct Counted {
  i64 rows = 0, entries = 0;
  std::uint64_t row_chunks = 0, entry_chunks = 0, sum_chunks = 0;

  Amount amount(Combine combine, i64 chunks, ChunksOf chunks_of = ChunksOf::experts) const {
    if (chunks_of == ChunksOf::tokens) return {rows, entries, std::min(rows, chunks), std::min(rows, chunks), chunks > 1};
    return {rows, entries, std::popcount(row_chunks), std::popcount(combine == Combine::home ? entry_chunks : sum_chunks), chunks > 1};
  }
};

struct Amounts {
  i64 n;
  std::vector<Counted> all;
  explicit Amounts(i64 places) : n(places), all(static_cast<std::size_t>(places * places)) {}
  Counted& operator()(i64 from, i64 to) { return all[static_cast<std::size_t>(from * n + to)]; }
};

/// A place that needs a token, with the chunks of its first and last entry there.
struct Need {
  i64 place, first, last;
};

/// Adds one entry of a token to the places that need it.
void add_need(std::vector<Need>& needs, i64 place, i64 chunk) {
  for (Need& need : needs) {
    if (need.place != place) continue;
    need.first = std::min(need.first, chunk);
    need.last = std::max(need.last, chunk);
    return;
  }
  needs.push_back({place, chunk, chunk});
}

void add_rows(Amounts& amounts, i64 from, std::vector<Need>& needs) {
  for (const Need& need : needs) {
    Counted& pair = amounts(from, need.place);
    ++pair.rows;
    pair.row_chunks |= std::uint64_t{1} << need.first;
    pair.sum_chunks |= std::uint64_t{1} << need.last;
  }
  needs.clear();
}

/// Fills the amounts between ranks and between nodes. A token counts once for each rank or node that needs it, in a node not for its own rank.
void count(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, const NodeLayout& nodes, i64 chunks, Amounts& by_rank, Amounts& by_node) {
  std::vector<Need> ranks, other_nodes;
  for (i64 from = 0; from < nodes.ranks(); ++from) {
    const Range mine = lanes.sequences_of(from);
    for (i64 t = mine.begin * lanes.seq_len(); t < mine.end() * lanes.seq_len(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (!a.kept[i]) continue;
        const i64 to = map.owner(a.expert[i]), node = nodes.node_of(to), chunk = chunk_of(map, a.expert[i], chunks);
        for (Counted* pair : {&by_rank(from, to), &by_node(nodes.node_of(from), node)}) {
          ++pair->entries;
          pair->entry_chunks |= std::uint64_t{1} << chunk;
        }
        add_need(ranks, to, chunk);
        add_need(other_nodes, node, chunk);
      }
      add_rows(by_rank, from, ranks);
      add_rows(by_node, nodes.node_of(from), other_nodes);
    }
  }
}

/// Every token of a rank to every rank.
void gather(const LaneLayout& lanes, Amounts& by_rank) {
  for (i64 from = 0; from < by_rank.n; ++from) {
    for (i64 to = 0; to < by_rank.n; ++to) {
      Counted& pair = by_rank(from, to);
      pair.rows = lanes.sequences_of(from).count * lanes.seq_len();
      pair.row_chunks = pair.sum_chunks = pair.rows > 0;
    }
  }
}

}  // namespace

std::vector<Traffic> DryRunExchanger::traffic_per_rank(const routing::Assignment& a, const ExpertMap& own_map, const LaneLayout& lanes, i64 width,
                                                       std::vector<i64>* bytes_to) const {
  const i64 ranks = nodes_.ranks();
  const bool paired = bytes_to && ranks <= k_most_paired_ranks;
  Amounts by_rank(ranks), by_node(nodes_.nodes());
  count(a, own_map.for_owners(ranks), lanes, nodes_, chunks_, by_rank, by_node);
  if (kind_ == Kind::gather) gather(lanes, by_rank);
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
      const auto amount = [&](i64 sender, i64 receiver) { return by_rank(sender, receiver).amount(combine_, chunks_, chunks_of_); };
      add(from, to, traffic_between_ranks(amount(from, to), amount(to, from), width, combine_, way));
    }
    for (i64 other = 0; once_per_node && other < nodes_.nodes(); ++other) {
      if (other == node || nodes_.port(node, other) != from) continue;
      const i64 here = static_cast<i64>(nodes_.ranks_of(node).size()), there = static_cast<i64>(nodes_.ranks_of(other).size());
      add(from, nodes_.port(other, node), traffic_between_nodes(by_node(node, other).amount(combine_, chunks_), by_node(other, node).amount(combine_, chunks_), ticket_table_bytes(here, there, chunks_), width,
                                                                  combine_));
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
