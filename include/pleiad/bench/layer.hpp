// One MoE layer by itself: forward and backward of router, plan, exchange, experts and combine on random tokens, as in a training step but
// without the zeroing of gradients, their sum over the ranks and the update. Read next: layer_check.hpp.
// Letters: T tokens of this rank, D width.
#pragma once
#include "pleiad/bench/record.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::bench {

/// The first MoE layer of a model whose parameters are allocated, and a batch for it.
class LayerBench {
 public:
  /// Draws the parameters. All references must outlive this; `lanes` and `sequences` as in training. pre: the model has an MoE layer.
  LayerBench(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, i64 lanes, i64 sequences, std::uint64_t seed);

  /// One forward and backward pass; gradients are zeroed before, outside the time. collective.
  Timed timed();
  /// Useful floating-point operations of a pass over the whole batch: three times the forward products of the experts, kept assignments
  /// only; two-layer experts of width h: 12 T k D h, gated ones 18. pre: a pass was made.
  double flops() const;
  /// Bytes that a pass must move where experts are rows (bytes.hpp); 0 elsewhere. pre: a pass was made.
  double row_bytes() const;
  /// Milliseconds of the phases and share of the products, medians over the last `samples` passes of rank 0.
  std::vector<Figure> figures(i64 samples) const;
  std::vector<std::pair<std::string, i64>> shape() const;

  // For checks.
  struct Pass {
    model::MoeTrace trace;
    Matrix y, d_x;  // [T,D]
  };
  void forward(ConstMatrixView x, bool training, Pass& pass);
  /// Adds to the gradients. `loss_scale` of the auxiliary losses.
  void backward(ConstMatrixView x, bool training, double loss_scale, Pass& pass);
  void zero_grads() { params_.zero_grads(); }
  const model::Model& model() const { return model_; }
  const model::MoeLayer& layer() const { return layer_; }
  ParamSet& params() { return params_; }
  const comm::ProcessGrid& grid() const { return grid_; }
  const LaneLayout& lanes() const { return lanes_; }
  const Matrix& x() const { return x_; }
  const Matrix& d_y() const { return d_y_; }
  const Pass& last() const { return pass_; }
  /// What the names of the layer's parameters begin with.
  std::string prefix() const { return fmt::format("blocks/{}/ffn/", layer_.layer()); }

 private:
  i64 used_experts() const;
  model::StepContext context(bool training);
  void draw_input(std::uint64_t seed);

  const model::Model& model_;
  const model::MoeLayer& layer_;
  ParamSet& params_;
  const comm::ProcessGrid& grid_;
  std::uint64_t seed_;
  LaneLayout lanes_;
  Matrix x_, d_y_;                      // [T,D]
  std::vector<std::int32_t> token_;     // [T] of routers that look at it
  Matrix attention_;                    // [S*H*L,L] of routers that look at it
  PhaseTimes times_;
  Pass pass_;
  std::vector<std::vector<double>> phases_;  // [passes] seconds by phase, and the products last
};

}  // namespace pleiad::bench
