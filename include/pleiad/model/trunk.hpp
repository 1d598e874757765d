// What every model has in common: embedding, blocks, final norm. Heads: language_model.hpp, classifier.hpp.
// Letters: T tokens of this rank, L sequence length, D width, V vocabulary, S sequences of this rank.
#pragma once
#include "pleiad/model/block.hpp"

namespace pleiad::model {

/// Name of the embedding among the parameters.
inline constexpr const char* k_embedding = "embed";

/// What a batch gives, the same on every rank.
struct LossReport {
  double task = 0;                          ///< mean cross-entropy over all counted targets of the global batch, nats
  double total = 0;                         ///< task + sum of coefficient * mean over MoE layers of each auxiliary loss
  i64 targets = 0;                          ///< counted targets
  std::vector<routing::AuxLoss> auxiliary;  ///< means over MoE layers
};

struct TrunkTrace {
  std::vector<BlockTrace> blocks;
  Matrix x_out, normed;       // [T,D] the stream after the last block, and normalised
  std::vector<real> inv_rms;
};

class Trunk {
 public:
  /// Adds its parameters; reads the router options of section [moe]. UserError if the model is `causal` and a router is not, unless
  /// moe.allow_noncausal. grid and exchanger must outlive this.
  Trunk(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
        const exchange::Exchanger& exchanger, bool causal, double embedding_scale);

  /// token [T], masks [S] -> trace.normed [T,D]. collective over the world.
  void forward(const ParamSet& params, std::span<const std::int32_t> token, std::span<const ops::Mask> masks, const StepContext& context,
               TrunkTrace& trace) const;
  /// d_normed [T,D] -> parameter gradients, those of the auxiliary losses included. collective over the world.
  void backward(ParamSet& params, std::span<const std::int32_t> token, std::span<const ops::Mask> masks, ConstMatrixView d_normed,
                const StepContext& context, const TrunkTrace& trace) const;
  /// Once after each update: what routers learn without a gradient. collective over the world.
  void update_buffers(ParamSet& params, const StepContext& context, const TrunkTrace& trace) const;

  /// Sets auxiliary and total of a report whose task is known.
  void add_auxiliary(const TrunkTrace& trace, LossReport& report) const;
  /// Statistics of the MoE layers, in order.
  std::vector<const LayerStatistics*> statistics(const TrunkTrace& trace) const;
  /// Whether no token's state depends on later tokens, as far as routers are concerned.
  bool causal() const;
  /// Forward floating-point operations per token of everything but the experts and the head.
  double fixed_flops_per_token() const;

  const ModelConfig& config() const { return config_; }
  const MoeConfig& moe_config() const { return moe_config_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  /// Block numbers that carry experts.
  const std::vector<i64>& moe_layers() const { return moe_config_.layers; }
  ParamId embedding() const { return embed_; }

 private:
  ModelConfig config_;
  MoeConfig moe_config_;
  ops::RotaryTable rotary_;
  ParamId embed_, norm_final_;
  std::unique_ptr<HyperNetwork> hyper_;
  std::vector<Block> blocks_;
  mutable BlockRoom room_;
  mutable Matrix d_x_;  // scratch of backward
};

}  // namespace pleiad::model
