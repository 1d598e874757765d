// One feed-forward expert: two-layer (relu, gelu; with or without bias) or SwiGLU. Also the dense layer of a block.
//   relu, gelu:  E(x) = W_out act(W_in x + b_in) + b_out        W_in [H,D], W_out [D,H]
//   swiglu:      E(x) = W_down (silu(W_gate x) .* (W_up x))     Shazeer 2020, eq. 5
// Letters: R rows (tokens of this expert), D width, H hidden width of this expert. Read next: ffn_bank.hpp.
#pragma once
#include "pleiad/core/bf16.hpp"
#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/ops/activation.hpp"
#include "pleiad/ops/scattered.hpp"

namespace pleiad::experts {

/// What kind of expert; the same for all experts of a layer.
struct FeedForwardKind {
  bool gated = false;
  ops::Activation activation = ops::Activation::gelu;
  bool bias = false;
  bool rounded = false;  ///< factors of products rounded to bf16; sums, weights and gradients stay in single precision

  bool any_rows = false;  ///< calls have every number of rows (ops::k_any_rows)

  /// Reads `activation` (relu, gelu, swiglu), `expert_bias` and `products` (f32, bf16) of a section.
  static FeedForwardKind read(Spec& spec);
  /// pre: word is relu, gelu or swiglu.
  static FeedForwardKind from(const std::string& word, bool bias);
  /// Products of a D x H matrix with a row, per row and forward pass.
  i64 matrices() const { return gated ? 3 : 2; }
  /// Whether an expert is so small that products read tokens where they lie and add results where they belong faster than from copies.
  bool narrow(i64 width, i64 hidden) const;
};

/// Room for intermediate numbers, kept from call to call by whoever calls.
struct FeedForwardRoom {
  Buffer<real> h, d_h, d_up;
  Buffer<bf16> w_in, w_up, w_out, h_16, d_h_16, d_up_16;
  Buffer<real> turned;
  ops::RowTable<const real> left, right;
  ops::RowTable<real> into;
};

/// The weights of an expert as factors of products, N being real or bf16.
template <class N>
struct FeedForwardWeights {
  View<const N> in, up, out;
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
  i64 trace_size(i64 rows) const { return rows * hidden_ * (kind_.gated ? 2 : 1); }
  double flops_per_row() const { return 2.0 * static_cast<double>(kind_.matrices() * hidden_ * width_); }

  /// The weights, rounded into `room` if N is bf16. Valid until they change or `room` is used for another expert.
  template <class N>
  FeedForwardWeights<N> weights(const ParamSet& params, FeedForwardRoom& room) const;
  /// out [R,D] = E(x [R,D]); trace is trace_size(R) long.
  template <class N>
  void forward(const ParamSet& params, const FeedForwardWeights<N>& w, View<const N> x, std::span<real> trace, FeedForwardRoom& room,
               MatrixView out) const;
  /// `d_y` [R,D] is the gradient of the token's output before weighting by `weight`; both weight and d_weight may be empty (weights 1). They
  /// may also be shorter than R: rows behind them fill up a tile and have no part in anything. Writes d_x [R,D] and d_weight =
  /// <d_y, E(x)>; adds parameter gradients to lane `lane`.
  template <class N>
  void backward(ParamSet& params, const FeedForwardWeights<N>& w, View<const N> x, std::span<const real> trace, std::span<const real> weight,
                View<const N> d_y, FeedForwardRoom& room, MatrixView d_x, std::span<real> d_weight, i64 lane) const;

  bool narrow() const { return kind_.narrow(width_, hidden_); }
  /// forward and backward for that: row r of x, out, d_y and d_x stands at the r-th address, and results are written there or added, those of
  /// forward times their weight. No filling: what a row gets does not depend on how many there are. pre: narrow().
  void forward_scattered(const ParamSet& params, ops::RowsAt<const real> x, std::span<real> trace, FeedForwardRoom& room, ops::RowsAt<real> out,
                         ops::Sums sums, ops::RowsAt<const real> later) const;
  void backward_scattered(ParamSet& params, ops::RowsAt<const real> x, std::span<const real> trace, std::span<const real> weight,
                          ops::RowsAt<const real> d_y, FeedForwardRoom& room, ops::RowsAt<real> d_x, bool add, std::span<real> d_weight, ops::RowsAt<const real> later) const;

  /// Asks for the weights (and their gradients) ahead, if they are so few that memory would otherwise be waited for. Changes nothing but time.
  void prefetch(const ParamSet& params) const;
  void prefetch_with_gradients(ParamSet& params) const;
  /// What those two ask for, as rows of D numbers behind what is in `rows`: for the expert before, if it is narrow, to ask for little by little.
  void add_rows(const ParamSet& params, ops::RowTable<const real>& rows) const;
  void add_rows_with_gradients(ParamSet& params, ops::RowTable<const real>& rows) const;

  /// The same with weights in single precision, for layers that all tokens go through.
  void forward(const ParamSet& params, ConstMatrixView x, std::span<real> trace, FeedForwardRoom& room, MatrixView out) const {
    forward(params, weights<real>(params, room), x, trace, room, out);
  }
  void backward(ParamSet& params, ConstMatrixView x, std::span<const real> trace, std::span<const real> weight, ConstMatrixView d_y,
                FeedForwardRoom& room, MatrixView d_x, std::span<real> d_weight, i64 lane) const {
    backward(params, weights<real>(params, room), x, trace, weight, d_y, room, d_x, d_weight, lane);
  }

 private:
  /// Calls use(id) for each matrix, if all are so few numbers that they should be asked for ahead.
  template <class Use>
  void for_each_matrix(Use use) const;

  FeedForwardKind kind_;
  i64 width_, hidden_;
  ParamId w_in_, w_up_, w_out_, b_in_, b_out_;  // w_in_ is w_gate and w_out_ is w_down in the gated kind
};

}  // namespace pleiad::experts
