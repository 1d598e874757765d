// One feed-forward expert: two-layer (relu, gelu; with or without bias) or SwiGLU. Also the dense layer of a block.
//   relu, gelu:  E(x) = W_out act(W_in x + b_in) + b_out        W_in [H,D], W_out [D,H]
//   swiglu:      E(x) = W_down (silu(W_gate x) .* (W_up x))     Shazeer 2020, eq. 5
// Letters: R rows (tokens of this expert), D width, H hidden width of this expert. Read next: ffn_bank.hpp.
#pragma once
#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/ops/activation.hpp"

namespace pleiad::experts {

/// What kind of expert; the same for all experts of a layer.
struct FeedForwardKind {
  bool gated = false;
  ops::Activation activation = ops::Activation::gelu;
  bool bias = false;

  /// Reads `activation` (relu, gelu, swiglu) and `expert_bias` of a section.
  static FeedForwardKind read(Spec& spec);
  /// pre: word is relu, gelu or swiglu.
  static FeedForwardKind from(const std::string& word, bool bias);
  /// Products of a D x H matrix with a row, per row and forward pass.
  i64 matrices() const { return gated ? 3 : 2; }
};

class FeedForward {
 public:
  /// Adds the parameters under `prefix`: experts/<number>/w_in and so on. slot >= 0 (ParamInfo::slot): owned by this rank alone;
  /// slot < 0: replicated. `layers` scales the output initialisation by 1/sqrt(2 layers), as the residual stream collects that many summands;
  /// `output_gain` scales it further (an expert that is to start near zero).
  FeedForward(ParamSet& params, const std::string& prefix, i64 number, i64 slot, FeedForwardKind kind, i64 width, i64 hidden,
              i64 layers, double output_gain = 1);

  i64 hidden() const { return hidden_; }
  /// Numbers that forward leaves in the trace for R rows.
  i64 trace_size(i64 rows) const { return rows * hidden_ * (kind_.gated ? 3 : 2); }
  double flops_per_row() const { return 2.0 * static_cast<double>(kind_.matrices() * hidden_ * width_); }

  /// out [R,D] = E(x [R,D]); trace is trace_size(R) long.
  void forward(const ParamSet& params, ConstMatrixView x, std::span<real> trace, MatrixView out) const;
  /// `d_y` [R,D] is the gradient of the token's output before weighting by `weight` [R]; both weight and d_weight may be empty
  /// (weights 1). Writes d_x [R,D] and d_weight [R] = <d_y, E(x)>; adds parameter gradients to lane `lane`; destroys d_y.
  void backward(ParamSet& params, ConstMatrixView x, std::span<const real> trace, std::span<const real> weight, MatrixView d_y,
                MatrixView d_x, std::span<real> d_weight, i64 lane) const;

 private:
  FeedForwardKind kind_;
  i64 width_, hidden_;
  ParamId w_in_, w_up_, w_out_, b_in_, b_out_;  // w_in_ is w_gate and w_out_ is w_down in the gated kind
};

}  // namespace pleiad::experts
