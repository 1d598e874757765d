// The decoder language model: trunk, output head, cross-entropy of the next token. Forward and backward stand side by side in
// language_model.cpp. Letters: T tokens of this rank, L sequence length, D width, V vocabulary.
#pragma once
#include "pleiad/model/trunk.hpp"

namespace pleiad::model {

/// This rank's share of a global batch (its sequences, in global order).
struct Batch {
  std::vector<std::int32_t> input;   ///< [T]
  std::vector<std::int32_t> target;  ///< [T]; -1: not counted
};

struct ModelTrace : TrunkTrace {
  Matrix log_p;                    // [T,V]
  std::vector<double> token_loss;  // [T] nats, 0 where not counted
  LossReport report;
};

class LanguageModel {
 public:
  /// Adds all parameters to `params`; reads the router options of section [moe]. grid and exchanger must outlive this.
  LanguageModel(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
                const exchange::Exchanger& exchanger);

  /// collective over the world.
  void forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const;
  /// The logits [T,V] behind trace.log_p, which differ from it by a constant per row. Local.
  void logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const;
  /// Adds the gradient of report.total to every parameter's gradient. collective over the world.
  void backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const;
  /// Once after each update: what routers learn without a gradient. collective over the world.
  void update_buffers(ParamSet& params, const StepContext& context, const ModelTrace& trace) const { trunk_.update_buffers(params, context, trace); }

  const Trunk& trunk() const { return trunk_; }
  const ModelConfig& config() const { return trunk_.config(); }
  const MoeConfig& moe_config() const { return trunk_.moe_config(); }
  const std::vector<Block>& blocks() const { return trunk_.blocks(); }
  /// Block numbers that carry experts.
  const std::vector<i64>& moe_layers() const { return trunk_.moe_layers(); }
  /// Statistics of the MoE layers, in order.
  std::vector<const LayerStatistics*> statistics(const ModelTrace& trace) const { return trunk_.statistics(trace); }
  /// Whether no token's prediction depends on later tokens.
  bool causal() const { return trunk_.causal(); }
  /// Forward floating-point operations per token of everything but the experts.
  double fixed_flops_per_token() const;

 private:
  LossReport report(const ModelTrace& trace, std::span<const std::int32_t> target, const StepContext& context) const;

  Trunk trunk_;
  ParamId head_;
};

}  // namespace pleiad::model
