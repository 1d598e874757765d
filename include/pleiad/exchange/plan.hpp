// The exchange plan of one layer and step: who sends which rows where, and how they lie at the owner. Immutable once made; used by
// dispatch, combine and both adjoints. Read next: exchanger.hpp.
// Letters: T tokens at home, P ranks of the expert group, R expert-major rows at the owner, M token rows that arrived there.
#pragma once
#include <vector>

#include "pleiad/core/matrix.hpp"

namespace pleiad::exchange {

/// How results come back. home: every expert's row travels and is summed at home in a fixed order, so the result does not depend
/// on the number of ranks. owner: the owner adds up its experts' weighted rows first; one row per token and rank travels.
enum class Combine { home, owner };

/// What one rank sends over the network (not to itself) in one layer and step.
struct Traffic {
  i64 forward_bytes = 0, backward_bytes = 0;
  i64 forward_messages = 0, backward_messages = 0;

  i64 bytes() const { return forward_bytes + backward_bytes; }
  i64 messages() const { return forward_messages + backward_messages; }
  Traffic& operator+=(const Traffic& more);
};

/// Up to so many ranks bytes are counted for each pair of them; more ranks would need as many numbers as their square.
inline constexpr i64 k_most_paired_ranks = 64;

struct ExchangePlan {
  // At home.
  std::vector<i64> send_rows;     // [P] token rows for each rank; a token travels once per rank that needs it
  std::vector<i64> send_entries;  // [P] kept assignments behind them
  std::vector<i64> send_token;    // [sum send_rows] local token of each sent row, by rank, then in token order
  std::vector<i64> return_slot;   // [nnz] place of each assignment's row in the returned buffer; -1 where dropped

  // At the owner.
  std::vector<i64> recv_rows;       // [P]
  std::vector<i64> recv_entries;    // [P]
  std::vector<i64> entry_row;       // [R] expert-major row of each arrived assignment, in arrival order
  std::vector<i64> entry_token;     // [R] arrived token row of each arrived assignment
  std::vector<i64> row_token;       // [R] arrived token row of each expert-major row
  std::vector<real> row_weight;     // [R] combine weight of each expert-major row
  std::vector<i64> expert_offset;   // [local experts + 1]

  Traffic traffic;
  // Bytes to each rank of the group, forward and backward: [P] of this rank; [P*P], sender after sender, in a dry run. Empty where
  // nothing travels, and beyond k_most_paired_ranks.
  std::vector<i64> bytes_to;

  i64 rows() const { return static_cast<i64>(row_token.size()); }
  i64 arrived() const;
};

/// Sorts arrived assignments into expert-major order: fills entry_row, row_token, row_weight, expert_offset. Rows of one expert
/// keep their order of arrival, which is the global token order. pre: entry_token filled.
void order_by_expert(ExchangePlan& plan, const std::vector<std::int32_t>& local_expert, const std::vector<real>& weight, i64 local_experts);

}  // namespace pleiad::exchange
