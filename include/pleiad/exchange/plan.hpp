// The exchange plan of one layer and step: who sends which rows where, and what they are there for. Immutable once made; used by the
// round trips of both passes. Read next: exchanger.hpp.
// Letters: T tokens at home, P ranks of the expert group, R expert-major rows at the owner, M token rows that arrived there.
#pragma once
#include <memory>
#include <vector>

#include "pleiad/core/lanes.hpp"
#include "pleiad/exchange/traffic.hpp"
#include "pleiad/experts/expert_bank.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::exchange {

/// A kept assignment whose result comes back by itself.
struct HomeEntry {
  std::int32_t token = 0;  // at home
  std::int32_t entry = 0;  // number of the assignment in its list
  std::int32_t slot = 0;   // place of the row among those that come back
};

struct NodePlan;

/// What goes from this rank to each other one, or from each to this one, chunk by chunk (chunks.hpp): where its rows, its kept assignments and its
/// sums begin, by rank, then chunk; [P*chunks+1].
struct Parcels {
  i64 chunks = 1;
  std::vector<i64> rows{0}, entries{0}, sums{0};
  explicit Parcels(i64 chunks_of_a_rank = 1) : chunks(chunks_of_a_rank) {}

  /// Of one of the three lists: a chunk of a rank, and all of a rank.
  Range part(const std::vector<i64>& of, i64 rank, i64 chunk) const {
    const std::size_t i = static_cast<std::size_t>(rank * chunks + chunk);
    return {of[i], of[i + 1] - of[i]};
  }
  Range all(const std::vector<i64>& of, i64 rank) const {
    const i64 first = of[static_cast<std::size_t>(rank * chunks)];
    return {first, of[static_cast<std::size_t>((rank + 1) * chunks)] - first};
  }
};

struct ExchangePlan {
  // At home.
  std::vector<i64> send_rows;     // [P] token rows for each rank; a token travels once per rank that needs it
  std::vector<i64> send_entries;  // [P] kept assignments behind them
  std::vector<i64> send_token;    // [sum send_rows] local token of each sent row, by rank, then chunk, then token; empty where all go to all
  bool all_to_all_ranks = false;  // every rank gets the row of every token
  std::vector<i64> return_slot;   // [nnz] place of each assignment among those that are sent, by rank; -1 where dropped
  std::vector<HomeEntry> home;    // [sum send_entries] in the order in which results are summed at home: by token, then expert

  // At the owner.
  std::vector<i64> recv_rows;         // [P]
  std::vector<i64> recv_entries;      // [P]
  experts::ExpertRows at_experts;     // [R]; their tokens are rows of what arrives
  std::vector<std::int32_t> row_entry;  // [R] place of each row's assignment in order of arrival

  // Each rank with each: parcels in the order of chunks.
  Parcels out, in;
  std::vector<i64> chunk_begin;          // [chunks+1] first expert-major row of each; empty where chunks are of tokens
  std::vector<i64> sum_token;            // combine = owner: local token of each sum that comes back, by rank, then chunk
  std::vector<std::int32_t> sum_place;   // [R] combine = owner: where a row's result is added at the owner

  std::shared_ptr<const NodePlan> nodes;  // what a hierarchical exchange adds (node_plan.hpp)

  Traffic traffic;
  // Bytes to each rank of the group, forward and backward: [P] of this rank; [P*P], sender after sender, in a dry run. Empty where
  // nothing travels, and beyond k_most_paired_ranks.
  std::vector<i64> bytes_to;

  i64 rows() const { return at_experts.rows(); }
};

/// Arrived assignments, in order of arrival.
struct Arrivals {
  explicit Arrivals(std::size_t n) : token(n), expert(n), weight(n) {}
  void set(std::size_t i, std::int32_t its_token, std::int32_t its_expert, real its_weight) {
    token[i] = its_token;
    expert[i] = its_expert;
    weight[i] = its_weight;
  }
  std::vector<std::int32_t> token;   // arrived token row
  std::vector<std::int32_t> expert;  // counted among those of this rank
  std::vector<real> weight;
};

/// Fills plan.home for results that come back one by one, from plan.return_slot.
void order_at_home(ExchangePlan& plan, const routing::Assignment& a);

/// Sorts arrivals into expert-major order: fills plan.at_experts and plan.row_entry. Rows of one expert keep their order of arrival, which is
/// the global token order.
void order_by_expert(ExchangePlan& plan, const Arrivals& arrivals, i64 local_experts);

}  // namespace pleiad::exchange
