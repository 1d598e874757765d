// Root mean square normalisation of every row (Zhang and Sennrich 2019, eq. 4), without mean and without bias:
//   r_t = 1 / sqrt( (1/D) sum_j x[t,j]^2 + eps ),   y[t,j] = x[t,j] r_t w_j.
// Legend: T rows (tokens), D width. x, y [T,D], weight [1,D], inv_rms [T] = r.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <span>

namespace pleiad::ops {

/// Overwrites y and inv_rms. y may be x only if the caller no longer needs x for the backward pass.
/// pre: shapes as in the legend; eps >= 0. A row of zeros gives zeros if eps > 0.
void rms_norm_forward(ConstMatrixView x, ConstMatrixView weight, real eps, MatrixView y, std::span<real> inv_rms);

/// d_x += and d_weight += the gradients of forward; rows in order. `inv_rms` is what forward wrote for the same x.
/// pre: shapes as in the legend; d_x and d_y do not overlap.
void rms_norm_backward(ConstMatrixView x, ConstMatrixView weight, std::span<const real> inv_rms, ConstMatrixView d_y,
                       MatrixView d_x, MatrixView d_weight);

}  // namespace pleiad::ops
