// How much memory a rank will take, of what, and whether the nodes can give it. No rank is asked here and nothing is measured: numbers only.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pleiad/core/memory.hpp"
#include "pleiad/core/param.hpp"

namespace pleiad::app {

/// Predicted for one rank, in bytes.
struct MemoryForecast {
  i64 program = 0;      ///< libraries, data, and what else was there before
  i64 weights = 0, gradients = 0, moments = 0;
  i64 activations = 0;  ///< of a step and an evaluation, and buffers of messages
  i64 exchange = 0;     ///< memory shared with other ranks
  i64 checkpoint = 0;   ///< what a save takes beyond that
  bool tried = false;   ///< whether activations are known
  i64 total() const { return program + weights + gradients + moments + activations + exchange + checkpoint; }
  /// Name and bytes, in the order of the members.
  std::vector<std::pair<std::string, i64>> parts() const;
};

/// Weights, gradients in `lanes` lanes and moments that exist from the start: exact. Rows of row-sparse parameters are not in it.
MemoryForecast parameter_memory(const ParamSet& params, i64 lanes);
/// Different rows among `rows` after so many uniform draws.
double distinct_rows(double rows, double draws);
/// Moments of row-sparse parameters after `draws` selections of this rank's rows.
i64 row_moment_memory(const ParamSet& params, double draws);
/// Most memory that packing the experts of this rank takes in a save.
i64 packing_memory(const ParamSet& params);

/// A node and what its ranks want of it.
struct NodeNeed {
  std::string host;
  i64 ranks = 1;
  i64 predicted = 0;        ///< of all its ranks
  i64 more = 0;             ///< of that, what is not resident yet
  MemoryRoom room;          ///< what the node can give beyond
  i64 rank_more = 0;        ///< of the rank that comes closest to its own limit
  MemoryRoom rank_room;
  i64 shared_more = 0;
  MemoryRoom shared_room;
  std::string largest;      ///< name of the largest part
  i64 largest_bytes = 0;    ///< of all ranks of the node
};
/// One sentence if it does not fit, otherwise empty.
std::string refusal(const NodeNeed& need);

/// 1.23 GiB, or MiB where it is less.
std::string gibibytes(i64 bytes);

}  // namespace pleiad::app
