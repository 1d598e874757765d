// What the plan of a hierarchical exchange says beyond an ExchangePlan. Rows lie in boxes in the memory that the ranks of a node share, where experts
// read them; a box holds what goes from one node to another or stays on it, chunk after chunk (chunks.hpp), in a chunk rank after rank. Read next: hierarchical.hpp.
#pragma once
#include <cstdint>
#include <vector>

#include "pleiad/core/lanes.hpp"

namespace pleiad::exchange {

/// A row of a box that this rank fills.
struct Put {
  std::int32_t token = 0, row = 0;
};

/// Row `from` of the results is added to row `to`.
struct NodeSum {
  std::int32_t to = 0, from = 0;
};

/// What a rank that speaks for its node exchanges with another node: by chunk rows of boxes and rows of results, at last gradients of weights.
struct PortChunk {
  Range rows_out, rows_in, results_out, results_in;
};
struct PortMessages {
  i64 peer = 0;
  std::vector<PortChunk> chunks;
  Range weights_out, weights_in;
};

struct NodePlan {
  // Tokens.
  i64 box_rows = 0;  // of all boxes of the node
  Range near;        // of them, the box of what stays on the node
  std::vector<Put> put;

  // Results.
  i64 result_rows = 0, weights = 0;        // rows, and gradients of weights behind them, in the memory of the node
  std::vector<std::int32_t> landing;       // [R] row where the experts put their result
  std::vector<std::int32_t> weight_place;  // [R]
  Range partial;                           // owner: the rows in which this rank's experts add up
  std::vector<NodeSum> sums;               // owner: this rank's share of the sums that its node sends away, in the order of adding
  std::vector<i64> sums_begin;             // owner: [chunks+1]

  std::vector<PortMessages> ports;
};

}  // namespace pleiad::exchange
