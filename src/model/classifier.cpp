#include "pleiad/model/classifier.hpp"

#include <cmath>

#include "pleiad/ops/cross_entropy.hpp"
#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

namespace {

std::vector<ops::Mask> masks_of(const Batch& batch, const LaneLayout& lanes) {
  std::vector<ops::Mask> masks;
  for (i64 s = 0; s < lanes.my_sequences().count; ++s) masks.push_back(ops::Mask::bidirectional(batch.length_of(s, lanes.seq_len())));
  return masks;
}

/// Calls f(my lane, first of this rank's sequences in it, how many) for every lane with sequences.
template <class F>
void for_each_lane_of_sequences(const LaneLayout& lanes, F f) {
  for_each_lane(lanes, [&](i64 lane, i64 begin, i64 count) { f(lane, begin / lanes.seq_len(), count / lanes.seq_len()); });
}

}  // namespace

Classifier::Classifier(ParamSet& params, const ModelConfig& config, i64 classes, Spec& moe, const MoeConfig& moe_config,
                       const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger)
    : Model(Task::classifier, {params, config, moe, moe_config, grid, exchanger, false, 0.5}),
      classes_(classes),
      head_(params.add({.name = k_head, .shape = {classes, config.width}, .init = Init::normal(1 / std::sqrt(static_cast<double>(config.width)))})) {}

void Classifier::forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const {
  const i64 length = context.lanes.seq_len(), sequences = context.lanes.my_sequences().count;
  PLEIAD_CHECK(static_cast<i64>(batch.target.size()) == sequences, "{} labels for {} sequences", batch.target.size(), sequences);
  mark_padding(batch, context, trace);
  trunk_.forward(params, batch.input, masks_of(batch, context.lanes), with_padding(context, trace), trace);

  PhaseTimes::Scope phase(context.times, Phase::head);
  trace.pooled.resize(sequences, config().width);
  for (i64 s = 0; s < sequences; ++s) {
    const i64 real_tokens = batch.length_of(s, length);
    ops::add_column_sums(trace.normed.view().row_range(s * length, real_tokens), trace.pooled.view().row_range(s, 1));
    for (i64 j = 0; j < trace.pooled.cols(); ++j) trace.pooled(s, j) /= static_cast<real>(real_tokens);
  }
  trace.loss.resize(batch.target.size());
  logits(params, trace, context.lanes, trace.log_p);
  ops::cross_entropy_forward(trace.log_p, batch.target, trace.log_p, trace.loss);
  trace.report = report(trace, batch, context);
}

void Classifier::logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const {
  out.resize(trace.pooled.rows(), classes_);
  for_each_lane_of_sequences(lanes, [&](i64, i64 begin, i64 count) {
    ops::linear_forward(trace.pooled.view().row_range(begin, count), params.value(head_), out.view().row_range(begin, count));
  });
}

void Classifier::backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const {
  const i64 length = context.lanes.seq_len();
  Matrix d_logits(trace.log_p.rows(), classes_), d_pooled(trace.pooled.rows(), trace.pooled.cols()), d_normed(trace.normed.rows(), trace.normed.cols());
  {
    PhaseTimes::Scope phase(context.times, Phase::head);
    const real scale = static_cast<real>(1.0 / static_cast<double>(std::max<i64>(trace.report.targets, 1)));
    ops::cross_entropy_backward(trace.log_p, batch.target, scale, d_logits);
    for_each_lane_of_sequences(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      ops::linear_backward(trace.pooled.view().row_range(begin, count), params.value(head_), d_logits.view().row_range(begin, count),
                           d_pooled.view().row_range(begin, count), params.grad(head_, lane));
    });
    for (i64 s = 0; s < d_pooled.rows(); ++s) {
      const i64 real_tokens = batch.length_of(s, length);
      for (i64 j = 0; j < d_pooled.cols(); ++j) d_pooled(s, j) /= static_cast<real>(real_tokens);
      ops::add_bias(d_normed.view().row_range(s * length, real_tokens), d_pooled.view().row_range(s, 1));
    }
  }
  context.complete_from(head_);
  trunk_.backward(params, batch.input, masks_of(batch, context.lanes), d_normed, with_padding(context, trace), trace);
}

double Classifier::fixed_flops_per_token() const {
  return trunk_.fixed_flops_per_token() + 2.0 * static_cast<double>(classes_ * config().width) / static_cast<double>(config().seq_len);
}

}  // namespace pleiad::model
