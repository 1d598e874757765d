// The encoder classifier: bidirectional trunk, mean of the last states over real tokens, one linear head. Padding is seen by no query,
// never routed and in no average.
#pragma once
#include "pleiad/model/model.hpp"

namespace pleiad::model {

class Classifier : public Model {
 public:
  /// As LanguageModel; adds head [classes, D].
  Classifier(ParamSet& params, const ModelConfig& config, i64 classes, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
             const exchange::Exchanger& exchanger);

  void forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const override;
  void logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const override;
  void backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const override;
  double fixed_flops_per_token() const override;
  i64 targets_per_sequence(i64) const override { return 1; }

 private:
  i64 classes_;
  ParamId head_;
};

}  // namespace pleiad::model
