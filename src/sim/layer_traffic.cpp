#include "pleiad/sim/layer_traffic.hpp"

#include <algorithm>

#include "pleiad/sim/engine.hpp"

namespace pleiad::sim {

namespace {

/// Sums of a reach: by node of its ranks, and over all of them.
struct Sums {
  std::vector<double> by_node, all;  // [Q x nodes], [Q]
};

Sums sum_up(const std::vector<float>& reach, i64 profiles, const RankGroup& group) {
  Sums s{std::vector<double>(static_cast<std::size_t>(profiles * group.nodes()), 0.0), std::vector<double>(static_cast<std::size_t>(profiles), 0.0)};
  for (i64 p = 0; p < profiles; ++p) {
    for (i64 r = 0; r < group.count; ++r) {
      const double rows = static_cast<double>(reach[static_cast<std::size_t>(p * group.count + r)]);
      s.by_node[p * group.nodes() + group.node_of(r)] += rows;
      s.all[p] += rows;
    }
  }
  return s;
}

/// How many sequences of each profile a node has, [nodes x Q].
std::vector<double> sequences_of_nodes(const RankSequences& sequences, const RankGroup& group) {
  std::vector<double> counts(static_cast<std::size_t>(group.nodes() * sequences.profiles()), 0.0);
  for (i64 r = 0; r < group.count; ++r) {
    for (const RankSequences::Count& c : sequences.of(r)) counts[group.node_of(r) * sequences.profiles() + c.profile] += static_cast<double>(c.sequences);
  }
  return counts;
}

/// From tokens to places that are the ranks themselves.
void count_by_rank(const std::vector<float>& reach, const RankSequences& sequences, const std::vector<double>& on_nodes, const RankGroup& group, std::vector<Reached>& out, std::vector<Reached>& in, Flow& flow) {
  const i64 profiles = sequences.profiles(), nodes = group.nodes();
  const Sums sums = sum_up(reach, profiles, group);
  out.resize(static_cast<std::size_t>(group.count));
  in.resize(out.size());
  const auto to = [&](i64 p, i64 rank) { return static_cast<double>(reach[static_cast<std::size_t>(p * group.count + rank)]); };
  for (i64 r = 0; r < group.count; ++r) {
    const i64 node = group.node_of(r);
    Reached &o = out[static_cast<std::size_t>(r)], &i = in[static_cast<std::size_t>(r)];
    for (const RankSequences::Count& c : sequences.of(r)) {
      const double n = static_cast<double>(c.sequences), here = sums.by_node[c.profile * nodes + node];
      o.own += n * to(c.profile, r);
      o.near += n * (here - to(c.profile, r));
      o.far += n * (sums.all[c.profile] - here);
    }
    double of_node = 0, of_all = 0;
    for (i64 p = 0; p < profiles; ++p) {
      of_node += on_nodes[node * profiles + p] * to(p, r);
      of_all += static_cast<double>(sequences.total()[p]) * to(p, r);
    }
    i = {o.own, of_node - o.own, std::max(0.0, of_all - of_node)};
  }
  flow.to.resize(static_cast<std::size_t>(nodes * profiles));
  for (i64 p = 0; p < profiles; ++p) {
    for (i64 n = 0; n < nodes; ++n) flow.to[n * profiles + p] = sums.by_node[p * nodes + n];
  }
}

/// From tokens to nodes, once to each.
void count_by_node(const Reach& reach, const RankSequences& sequences, const std::vector<double>& on_nodes, const RankGroup& group, std::vector<Reached>& out, std::vector<Reached>& in, Flow& flow) {
  const i64 profiles = sequences.profiles(), nodes = group.nodes();
  out.resize(static_cast<std::size_t>(group.count));
  in.resize(out.size());
  std::vector<double> all(static_cast<std::size_t>(profiles), 0.0);
  flow.to.resize(static_cast<std::size_t>(nodes * profiles));
  for (i64 p = 0; p < profiles; ++p) {
    for (i64 n = 0; n < nodes; ++n) all[p] += flow.to[n * profiles + p] = reach.rows_of(p, n);
  }
  for (i64 r = 0; r < group.count; ++r) {
    for (const RankSequences::Count& c : sequences.of(r)) {
      const double here = reach.rows_of(c.profile, group.node_of(r));
      out[static_cast<std::size_t>(r)].near += static_cast<double>(c.sequences) * here;
      out[static_cast<std::size_t>(r)].far += static_cast<double>(c.sequences) * (all[c.profile] - here);
    }
    const i64 node = group.node_of(r);
    const double each = static_cast<double>(group.ranks_on(node));
    for (i64 p = 0; p < profiles; ++p) {
      const double here = on_nodes[node * profiles + p], everywhere = static_cast<double>(sequences.total()[p]);
      in[static_cast<std::size_t>(r)].near += here * reach.rows_of(p, node) / each;
      in[static_cast<std::size_t>(r)].far += (everywhere - here) * reach.rows_of(p, node) / each;
    }
  }
}

/// How many sequences of each profile a rank has, and what they send to each rank, [ranks x Q] each.
Flow between_ranks(const std::vector<float>& reach, const RankSequences& sequences, const RankGroup& group) {
  const i64 profiles = sequences.profiles();
  Flow f{group.first, group.count, profiles, std::vector<double>(static_cast<std::size_t>(group.count * profiles), 0.0), {}};
  f.to = f.from;
  for (i64 r = 0; r < group.count; ++r) {
    for (const RankSequences::Count& c : sequences.of(r)) f.from[static_cast<std::size_t>(r * profiles + c.profile)] += static_cast<double>(c.sequences);
    for (i64 p = 0; p < profiles; ++p) f.to[static_cast<std::size_t>(r * profiles + p)] = static_cast<double>(reach[static_cast<std::size_t>(p * group.count + r)]);
  }
  return f;
}

/// Every token to every rank.
void count_gather(const RankSequences& sequences, const std::vector<double>& on_nodes, const RankGroup& group, i64 tokens, LayerTraffic& t) {
  const i64 profiles = sequences.profiles(), nodes = group.nodes();
  double all = 0;
  for (const i64 n : sequences.total()) all += static_cast<double>(n * tokens);
  t.rows.from = on_nodes;
  t.rows.to.resize(on_nodes.size());
  std::vector<double> of_node(static_cast<std::size_t>(nodes), 0.0);
  for (i64 n = 0; n < nodes; ++n) {
    for (i64 p = 0; p < profiles; ++p) {
      t.rows.to[n * profiles + p] = static_cast<double>(tokens * group.ranks_on(n));
      of_node[n] += on_nodes[n * profiles + p] * static_cast<double>(tokens);
    }
  }
  for (i64 r = 0; r < group.count; ++r) {
    double mine = 0;
    for (const RankSequences::Count& c : sequences.of(r)) mine += static_cast<double>(c.sequences * tokens);
    const double here = static_cast<double>(group.ranks_on(group.node_of(r))), ranks = static_cast<double>(group.count);
    t.rows_out.push_back({mine, mine * (here - 1), mine * (ranks - here)});
    t.rows_in.push_back({mine, of_node[group.node_of(r)] - mine, all - of_node[group.node_of(r)]});
  }
}

}  // namespace

i64 RankGroup::ranks_on(i64 node) const {
  const i64 begin = (first_node() + node) * each;
  return std::min(begin + each, first + count) - std::max(begin, first);
}

RankSequences::RankSequences(const Demand& demand, i64 step, std::span<const i64> first_sequence) : total_(static_cast<std::size_t>(demand.profiles()), 0) {
  for (std::size_t r = 0; r + 1 < first_sequence.size(); ++r) {
    const std::size_t begin = counts_.size();
    for (i64 s = first_sequence[r]; s < first_sequence[r + 1]; ++s) {
      const i64 profile = demand.profile_of(s, step);
      const auto it = std::find_if(counts_.begin() + static_cast<std::ptrdiff_t>(begin), counts_.end(), [&](const Count& c) { return c.profile == profile; });
      if (it == counts_.end()) counts_.push_back({profile, 1});
      else ++it->sequences;
      ++total_[profile];
    }
    begin_.push_back(counts_.size());
  }
}

std::span<const RankSequences::Count> RankSequences::of(i64 rank) const {
  return {counts_.data() + begin_[static_cast<std::size_t>(rank)], begin_[static_cast<std::size_t>(rank + 1)] - begin_[static_cast<std::size_t>(rank)]};
}

LayerTraffic count_traffic(const Demand& demand, const Occasion& at, const RankSequences& sequences, std::span<const i64> owner, const RankGroup& group, exchange::Kind kind, i64 tokens) {
  std::vector<std::int32_t> rank_of(owner.begin(), owner.end()), node_of(owner.size());
  for (std::size_t e = 0; e < owner.size(); ++e) node_of[e] = static_cast<std::int32_t>(group.node_of(owner[e]));
  const std::vector<double> on_nodes = sequences_of_nodes(sequences, group);
  const Reach by_rank = demand.reach(at, rank_of, group.count);
  LayerTraffic t;
  t.rows = t.entries = {group.first_node(), group.nodes(), sequences.profiles(), on_nodes, {}};
  count_by_rank(by_rank.entries, sequences, on_nodes, group, t.entries_out, t.entries_in, t.entries);
  if (kind == exchange::Kind::all_to_all) count_by_rank(by_rank.rows, sequences, on_nodes, group, t.rows_out, t.rows_in, t.rows);
  if (kind == exchange::Kind::hierarchical) count_by_node(demand.reach(at, node_of, group.nodes()), sequences, on_nodes, group, t.rows_out, t.rows_in, t.rows);
  if (kind == exchange::Kind::gather) count_gather(sequences, on_nodes, group, tokens, t);
  if (group.count <= k_most_rank_pairs && kind != exchange::Kind::hierarchical) {
    t.rank_entries = t.rank_rows = between_ranks(by_rank.entries, sequences, group);
    if (kind == exchange::Kind::all_to_all) t.rank_rows = between_ranks(by_rank.rows, sequences, group);
    else std::ranges::fill(t.rank_rows.to, static_cast<double>(tokens));
  }
  return t;
}

}  // namespace pleiad::sim
