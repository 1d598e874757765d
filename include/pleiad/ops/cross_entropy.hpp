// Cross-entropy of class logits against one target per row: loss_t = ln sum_v exp z[t,v] - z[t, target_t].
// Legend: T rows, V classes (vocabulary). logits, log_p, d_logits [T,V], target [T]; target -1 leaves a row out.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <cstdint>
#include <span>

namespace pleiad::ops {

/// Overwrites log_p (may be logits) with the log-softmax of every row, and loss_per_row with the losses, taken in
/// double from the logits; 0 for an ignored row. pre: shapes as in the legend; -1 <= target < V; V >= 1 unless T = 0.
void cross_entropy_forward(ConstMatrixView logits, std::span<const std::int32_t> target, MatrixView log_p,
                           std::span<double> loss_per_row);

/// d_logits = scale (p - onehot(target)); zeros in ignored rows. Overwrites d_logits, which may be log_p.
/// pre: log_p and target as in forward.
void cross_entropy_backward(ConstMatrixView log_p, std::span<const std::int32_t> target, real scale,
                            MatrixView d_logits);

}  // namespace pleiad::ops
