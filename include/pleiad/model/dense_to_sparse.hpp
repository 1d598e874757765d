// A dense feed-forward layer of width H cut into N experts of width H/N, weighted by a router (Yang et al. 2024, the dense-to-sparse
// use of XMoE). With y = sum_e p_e E_e(x), raw softmax weights, and
//   E_e(x) = N W_out[:, e] act(W_in[e, :] x + b_in[e]) + b_out      (swiglu: N W_down[:, e] (silu(W_gate[e, :] x) .* (W_up[e, :] x)))
// where [e] is the e-th of N equal runs of the hidden width, a router of zero weights gives p_e = 1/N and y is the dense layer's output.
#pragma once
#include "pleiad/core/param.hpp"

namespace pleiad::model {

/// Gives `sparse` (of a model whose blocks carry `experts` small experts each) the function of `dense` (of the same model with dense
/// layers instead): experts are cut from the dense layer of their block, router weights are zero, all else is copied. A block that is dense in both
/// is copied too. Fills the experts of this rank; local. pre: both allocated; H = experts x expert width.
void split_dense(ParamSet& dense, ParamSet& sparse, i64 experts);

}  // namespace pleiad::model
