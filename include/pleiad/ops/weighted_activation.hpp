// The activation of an expert and its gradient in one pass over numbers that are still in the cache. The activation itself is computed
// anew in backward: that costs less than keeping it. Legend: R rows, H hidden width. Read next: activation.hpp.
#pragma once
#include <span>

#include "pleiad/core/matrix.hpp"
#include "pleiad/ops/activation.hpp"

namespace pleiad::ops {

/// For h = act(pre) and the gradient d_h of h before weighting, row by row with weight w:
///   d_weight = <d_h, h>, then d_h becomes the gradient by pre, w d_h act'(pre), and h becomes w h.
/// All [R,H]; h is only written. `weight` and `d_weight` may be empty (weights 1).
void weighted_activation_backward(Activation f, ConstMatrixView pre, std::span<const real> weight, MatrixView d_h, MatrixView h,
                                  std::span<real> d_weight);

/// The same for h = silu(gate) .* up: d_h becomes the gradient by gate, d_up is written.
void weighted_swiglu_backward(ConstMatrixView gate, ConstMatrixView up, std::span<const real> weight, MatrixView d_h, MatrixView d_up, MatrixView h,
                              std::span<real> d_weight);

}  // namespace pleiad::ops
