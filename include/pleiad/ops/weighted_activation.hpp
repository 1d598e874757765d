// The activation of an expert and its gradient in one pass over numbers that are still in the cache. The activation itself is computed
// anew in backward: that costs less than keeping it. What comes out are factors of products, N being real or bf16.
// Legend: R rows, H hidden width. Read next: activation.hpp.
#pragma once
#include <span>

#include "pleiad/core/matrix.hpp"
#include "pleiad/ops/activation.hpp"

namespace pleiad::ops {

/// For h = act(pre) and the gradient d_h of h before weighting, row by row with weight w:
///   d_weight = <d_h, h>, d_pre = w d_h act'(pre), and h becomes w h.
/// All [R,H]; h and d_pre, which may be d_h, are only written. `weight` and `d_weight` may be empty (weights 1).
template <class N>
void weighted_activation_backward(Activation f, ConstMatrixView pre, std::span<const real> weight, ConstMatrixView d_h, View<N> d_pre, View<N> h,
                                  std::span<real> d_weight);

/// The same for h = silu(gate) .* up: d_gate, which may be d_h, and d_up are written.
template <class N>
void weighted_swiglu_backward(ConstMatrixView gate, ConstMatrixView up, std::span<const real> weight, ConstMatrixView d_h, View<N> d_gate, View<N> d_up,
                              View<N> h, std::span<real> d_weight);

}  // namespace pleiad::ops
