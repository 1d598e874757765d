// The decoder language model: embedding, blocks, final norm, output head, cross-entropy. Forward and backward stand side by side
// in language_model.cpp. Letters: T tokens of this rank, L sequence length, D width, V vocabulary.
#pragma once
#include "pleiad/model/block.hpp"

namespace pleiad::model {

/// This rank's share of a global batch (its sequences, in global order).
struct Batch {
  std::vector<std::int32_t> input;   ///< [T]
  std::vector<std::int32_t> target;  ///< [T]; -1: not counted
};

/// What a batch gives, the same on every rank except layers[].traffic.
struct LossReport {
  double task = 0;                         ///< mean cross-entropy over all counted targets of the global batch, nats
  double total = 0;                        ///< task + sum of coefficient * mean over MoE layers of each auxiliary loss
  i64 targets = 0;                         ///< counted targets
  std::vector<routing::AuxLoss> auxiliary;  ///< means over MoE layers
};

struct ModelTrace {
  std::vector<BlockTrace> blocks;
  Matrix x_out, normed;            // [T,D] the stream after the last block, and normalised
  std::vector<real> inv_rms;
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
  void update_buffers(ParamSet& params, const StepContext& context, const ModelTrace& trace) const;
  /// Whether no token's prediction depends on later tokens.
  bool causal() const;

  const ModelConfig& config() const { return config_; }
  const MoeConfig& moe_config() const { return moe_config_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  /// Block numbers that carry experts.
  const std::vector<i64>& moe_layers() const { return moe_config_.layers; }
  /// Statistics of the MoE layers, in order.
  std::vector<const LayerStatistics*> statistics(const ModelTrace& trace) const;
  /// Forward floating-point operations per token of everything but the experts.
  double fixed_flops_per_token() const;

 private:
  StepContext with_tokens(const StepContext& context, const Batch& batch) const;
  LossReport report(const ModelTrace& trace, std::span<const std::int32_t> target, const StepContext& context) const;
  std::vector<ops::Mask> masks(const StepContext& context) const;

  ModelConfig config_;
  MoeConfig moe_config_;
  ops::RotaryTable rotary_;
  ParamId embed_, norm_final_, head_;
  std::unique_ptr<HyperNetwork> hyper_;
  std::vector<Block> blocks_;
};

}  // namespace pleiad::model
