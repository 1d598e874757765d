// The language model: trunk, output head, cross-entropy of tokens. A decoder is causal and predicts the next token; with prefixes and targets of -1
// over them it is the sequence-to-sequence model: the source is seen both ways, only the target is predicted. An encoder (masked_lm) sees both ways
// everywhere and predicts the tokens that have a target. Forward and backward stand side by side in language_model.cpp.
#pragma once
#include "pleiad/model/model.hpp"

namespace pleiad::model {

class LanguageModel : public Model {
 public:
  /// Adds all parameters to `params`; reads the router options of section [moe]. grid and exchanger must outlive this. `task`: not classifier.
  LanguageModel(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
                const exchange::Exchanger& exchanger, Task task = Task::lm);

  void forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const override;
  void logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const override;
  void backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const override;
  double fixed_flops_per_token() const override;
  i64 targets_per_sequence(i64 seq_len) const override { return seq_len; }

 private:
  std::vector<ops::Mask> masks_of(const Batch& batch, const LaneLayout& lanes) const;

  ParamId head_;
  mutable Matrix d_normed_, d_logits_;  // scratch of backward
};

}  // namespace pleiad::model
