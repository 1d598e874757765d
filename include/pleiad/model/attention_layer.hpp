// The attention sublayer of a block: projections lane by lane, attention sequence by sequence.
// Letters: T tokens of this rank, D width, H heads, L sequence length, S sequences of this rank.
#pragma once
#include "pleiad/core/param.hpp"
#include "pleiad/model/context.hpp"
#include "pleiad/ops/attention.hpp"

namespace pleiad::model {

struct AttentionTrace {
  Matrix q, k, v;  // [T,D], q and k turned by their positions
  Matrix weights;  // [S*H*L, L]
  Matrix mixed;    // [T,D] before the output projection
};

/// Scratch of a backward pass, of one lane: nothing in it outlives a call.
struct AttentionRoom {
  Matrix d_mixed, d_q, d_k, d_v;
  Buffer<real> scores;
};

class AttentionLayer {
 public:
  /// Adds wq, wk, wv, wo [D,D] under `prefix`. The output projection starts smaller by 1/sqrt(2 model_layers).
  AttentionLayer(ParamSet& params, const std::string& prefix, i64 width, i64 heads, i64 model_layers);

  /// x [T,D] -> y [T,D] (overwritten); masks [S]. Local.
  void forward(const ParamSet& params, ConstMatrixView x, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks,
               const StepContext& context, AttentionTrace& trace, MatrixView y) const;
  /// d_y [T,D] -> d_x [T,D] (overwritten), and parameter gradients. Local.
  void backward(ParamSet& params, ConstMatrixView x, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks,
                ConstMatrixView d_y, const StepContext& context, const AttentionTrace& trace, AttentionRoom& room, MatrixView d_x) const;

  i64 heads() const { return heads_; }

 private:
  i64 heads_;
  ParamId wq_, wk_, wv_, wo_;
};

}  // namespace pleiad::model
