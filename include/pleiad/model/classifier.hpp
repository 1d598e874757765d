// The encoder classifier: bidirectional trunk, mean of the last states over real tokens, one linear head.
// Letters: S sequences of this rank, L length, D width, C classes.
#pragma once
#include "pleiad/model/trunk.hpp"

namespace pleiad::model {

/// This rank's sequences, right-padded to L.
struct LabelledBatch {
  std::vector<std::int32_t> input;   ///< [S*L]
  std::vector<i64> length;           ///< [S] real tokens, 1 to L
  std::vector<std::int32_t> label;   ///< [S]; -1: not counted
};

struct ClassifierTrace : TrunkTrace {
  std::vector<std::uint8_t> real_tokens;  // [S*L]
  i64 real_in_batch = 0;
  Matrix pooled;                          // [S,D]
  Matrix log_p;                           // [S,C]
  std::vector<double> loss;               // [S]
  LossReport report;
};

class Classifier {
 public:
  /// As LanguageModel; adds head [classes, D].
  Classifier(ParamSet& params, const ModelConfig& config, i64 classes, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
             const exchange::Exchanger& exchanger);

  /// Padding is seen by no query, never routed and in no average. collective over the world.
  void forward(const ParamSet& params, const LabelledBatch& batch, const StepContext& context, ClassifierTrace& trace) const;
  /// The logits [S,C]. Local.
  void logits(const ParamSet& params, const ClassifierTrace& trace, const LaneLayout& lanes, Matrix& out) const;
  /// Adds the gradient of report.total. collective over the world.
  void backward(ParamSet& params, const LabelledBatch& batch, const StepContext& context, const ClassifierTrace& trace) const;
  /// collective over the world.
  void update_buffers(ParamSet& params, const StepContext& context, const ClassifierTrace& trace) const;

  const Trunk& trunk() const { return trunk_; }

 private:
  StepContext with_padding(const StepContext& context, const ClassifierTrace& trace) const;

  Trunk trunk_;
  i64 classes_;
  ParamId head_;
};

}  // namespace pleiad::model
