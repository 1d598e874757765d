// Gradients across ranks, by owner: replicated parameters are summed over lanes along the fixed tree, experts over the ranks of
// their data group (of row-sparse ones the union of the rows, added in rank order); and the norm of all of them, which does not depend
// on the number of ranks: per expert in a fixed order, over the touched rows by an exact sum (core/exact_sum.hpp).
#pragma once
#include "pleiad/comm/grid.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/param.hpp"

namespace pleiad::train {

/// Leaves the gradient of the whole global batch in lane 0 of every parameter. collective.
void sync_gradients(ParamSet& params, const LaneLayout& lanes, const comm::ProcessGrid& grid);

/// Global L2 norm over all trainable parameters, each expert counted once. pre: synced. collective.
double gradient_norm(ParamSet& params, const comm::ProcessGrid& grid);

/// What to multiply gradients with so that their norm is at most `limit` (0: no limit).
inline double clip_scale(double norm, double limit) { return limit > 0 && norm > limit ? limit / norm : 1.0; }

}  // namespace pleiad::train
