// What the exchange of one layer with experts moves between the ranks of an expert group, rank by rank and node by node, made of sums: no list of pairs.
#pragma once
#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/sim/demand.hpp"
#include "pleiad/sim/links.hpp"

namespace pleiad::sim {

/// Ranks first .. first+count-1 of the world, `each` on a node of the world.
struct RankGroup {
  i64 first = 0, count = 1, each = 1;
  i64 first_node() const { return first / each; }
  i64 nodes() const { return (first + count - 1) / each - first_node() + 1; }
  /// Counted from first_node().
  i64 node_of(i64 rank) const { return (first + rank) / each - first_node(); }
  /// Of its ranks, those on one of its nodes.
  i64 ranks_on(i64 node) const;
};

/// Rows (or assignments) that a rank has for itself, for others of its node, and for others.
struct Reached {
  double own = 0, near = 0, far = 0;
};

struct LayerTraffic {
  std::vector<Reached> rows_out, rows_in, entries_out, entries_in;  ///< [ranks of the group] token rows and assignments to experts, there
  Flow rows, entries;                                               ///< the same between nodes
  Flow rank_rows, rank_entries;                                     ///< and between ranks, in groups of at most k_most_rank_pairs, as far as ranks send by themselves; otherwise empty
};

/// The sequences of each rank, by profile.
class RankSequences {
 public:
  /// first_sequence [ranks + 1] of the global batch.
  RankSequences(const Demand& demand, i64 step, std::span<const i64> first_sequence);
  struct Count {
    i64 profile, sequences;
  };
  std::span<const Count> of(i64 rank) const;
  /// Of all ranks, [Q].
  const std::vector<i64>& total() const { return total_; }
  i64 profiles() const { return static_cast<i64>(total_.size()); }

 private:
  std::vector<std::size_t> begin_{0};
  std::vector<Count> counts_;
  std::vector<i64> total_;
};

/// owner [N] of the group. all_to_all: a row goes once to each rank that needs it. hierarchical: once to each node; then `near` is the rank's own node as a whole and `own` 0, and rows
/// that come to a node are shared out evenly among its ranks. gather: to every rank. tokens: of a sequence.
LayerTraffic count_traffic(const Demand& demand, const Occasion& at, const RankSequences& sequences, std::span<const i64> owner, const RankGroup& group, exchange::Kind kind, i64 tokens);

}  // namespace pleiad::sim
