// One block of the residual stream: x += attention(norm(x)); x += feed_forward(norm(x)), the latter dense or with experts.
// Letters: T tokens of this rank, D width.
#pragma once
#include <optional>

#include "pleiad/model/attention_layer.hpp"
#include "pleiad/model/moe_layer.hpp"

namespace pleiad::model {

/// Section [model].
struct ModelConfig {
  i64 vocab = 0, width = 0, layers = 0, heads = 0, seq_len = 0, dense_width = 0;
  experts::FeedForwardKind dense_kind;
  bool tied_head = false;
  double rms_eps = 1e-5, rope_base = 10000;

  /// `vocab` is that of the data; UserError if the section asks for another one.
  static ModelConfig read(Spec& model, i64 vocab);
};

struct BlockTrace {
  Matrix x_in, x_mid;                   // [T,D] the residual stream before each sublayer
  Matrix normed_in, normed_mid;         // [T,D]
  std::vector<real> inv_rms_in, inv_rms_mid;
  AttentionTrace attention;
  MoeTrace moe;                         // of a block with experts
  std::vector<Buffer<real>> dense;      // per lane, of a dense block
};

/// Scratch that the blocks of a model share: nothing in it outlives a call.
struct BlockRoom {
  Matrix y;  // [T,D] of a sublayer: what it adds, or the gradient of what it got
  AttentionRoom attention;
};

class Block {
 public:
  /// Adds its parameters under blocks/<layer>/. moe_layer counts MoE layers; below 0: a dense block. hyper may be null.
  Block(ParamSet& params, const ModelConfig& config, i64 layer, i64 moe_layer, Spec& moe, const MoeConfig& moe_config,
        const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger, const HyperNetwork* hyper);

  /// x [T,D] in place. collective over the world.
  void forward(const ParamSet& params, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks, const StepContext& context,
               BlockTrace& trace, BlockRoom& room, MatrixView x) const;
  /// d_x [T,D] in place: gradient of the stream after the block to that before it. collective over the world.
  void backward(ParamSet& params, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks, const StepContext& context,
                const BlockTrace& trace, double aux_scale, BlockRoom& room, MatrixView d_x) const;

  /// All others of the block were added after it.
  ParamId first_parameter() const { return norm1_; }
  const MoeLayer* moe() const { return moe_.get(); }
  /// Forward floating-point operations per token of the dense parts: attention (full square) and dense feed-forward.
  double dense_flops_per_token(i64 seq_len) const;

 private:
  real eps_;
  i64 width_;
  ParamId norm1_, norm2_;
  AttentionLayer attention_;
  std::unique_ptr<MoeLayer> moe_;
  std::optional<experts::FeedForward> dense_;
  mutable experts::FeedForwardRoom dense_room_;  // scratch: nothing in it outlives a call
};

/// RMS norm of all rows, lane by lane for the weight gradient.
void norm_forward(const ParamSet& params, ParamId weight, real eps, ConstMatrixView x, Matrix& y, std::vector<real>& inv_rms);
void norm_backward(ParamSet& params, ParamId weight, ConstMatrixView x, std::span<const real> inv_rms, ConstMatrixView d_y,
                   const LaneLayout& lanes, MatrixView d_x);

}  // namespace pleiad::model
