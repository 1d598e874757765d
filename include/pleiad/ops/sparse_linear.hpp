// The way back through z = x W^T where only a few entries of d_z are not zero, such as the scores of the chosen of many experts.
// Legend: T rows, D columns of x, N rows of W. Read next: linear.hpp.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <span>
#include <vector>

namespace pleiad::ops {

/// Row t of d_z has `value[i]` in column `column[i]`, offset[t] <= i < offset[t+1], and 0 elsewhere.
struct SparseGradient {
  std::span<const i64> offset;            // [T+1]; the first need not be 0
  std::span<const std::int32_t> column;
  std::span<const real> value;
};

/// d_x += (d_z W) .* factor (all 1 where factor has no rows), d_w += d_z^T x. Each element is a sum in the order of the entries, for d_w
/// in that of the rows. pre: x, d_x and factor [T,D], w and d_w [N,D].
void linear_backward(ConstMatrixView x, ConstMatrixView w, const SparseGradient& d_z, ConstMatrixView factor, MatrixView d_x, MatrixView d_w);

}  // namespace pleiad::ops
