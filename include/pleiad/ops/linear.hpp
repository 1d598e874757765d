// Linear map without bias: y = x W^T. Weights are stored [out, in], as everywhere in Pleiad.
// Legend: T rows (tokens), I inputs, O outputs. x [T,I], W [O,I], y [T,O].
#pragma once
#include "pleiad/core/matrix.hpp"

namespace pleiad::ops {

/// y = x W^T. Overwrites y. pre: shapes as in the legend; T may be 0.
void linear_forward(ConstMatrixView x, ConstMatrixView w, MatrixView y);

/// d_x = d_y W (added to d_x if add_to_d_x) and d_w += d_y^T x. A default-made view for d_x or d_w means: not wanted.
/// pre: shapes as in the legend; T may be 0.
void linear_backward(ConstMatrixView x, ConstMatrixView w, ConstMatrixView d_y, MatrixView d_x, MatrixView d_w,
                     bool add_to_d_x = false);

/// Every row += the one row of `bias` [1,O].
void add_bias(MatrixView rows, ConstMatrixView bias);

/// sum [1,O] += the sum of all rows, in order: the gradient of add_bias by its bias.
void add_column_sums(ConstMatrixView rows, MatrixView sum);

}  // namespace pleiad::ops
