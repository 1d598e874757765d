#include "pleiad/model/classifier.hpp"

#include <cmath>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/cross_entropy.hpp"
#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

namespace {

std::vector<ops::Mask> masks_of(const LabelledBatch& batch) {
  std::vector<ops::Mask> masks;
  for (const i64 length : batch.length) masks.push_back(ops::Mask::bidirectional(length));
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
    : trunk_(params, config, moe, moe_config, grid, exchanger, false, 0.5),
      classes_(classes),
      head_(params.add({.name = "head", .shape = {classes, config.width}, .init = Init::normal(1 / std::sqrt(static_cast<double>(config.width)))})) {}

StepContext Classifier::with_padding(const StepContext& context, const ClassifierTrace& trace) const {
  StepContext c = context;
  c.real_tokens = trace.real_tokens;
  c.real_in_batch = trace.real_in_batch;
  return c;
}

void Classifier::forward(const ParamSet& params, const LabelledBatch& batch, const StepContext& context, ClassifierTrace& trace) const {
  const i64 length = context.lanes.seq_len(), sequences = context.lanes.my_sequences().count;
  PLEIAD_CHECK(static_cast<i64>(batch.length.size()) == sequences && batch.label.size() == batch.length.size(), "{} labels for {} sequences", batch.label.size(), sequences);
  trace.real_tokens.assign(batch.input.size(), 0);
  for (i64 s = 0; s < sequences; ++s) std::fill_n(trace.real_tokens.begin() + s * length, batch.length[s], std::uint8_t{1});
  trace.real_in_batch = comm::sum_over<i64>(context.grid.world(), std::accumulate(batch.length.begin(), batch.length.end(), i64{0}));
  trunk_.forward(params, batch.input, masks_of(batch), with_padding(context, trace), trace);

  PhaseTimes::Scope phase(context.times, Phase::head);
  trace.pooled.resize(sequences, trunk_.config().width);
  for (i64 s = 0; s < sequences; ++s) {
    ops::add_column_sums(trace.normed.view().row_range(s * length, batch.length[s]), trace.pooled.view().row_range(s, 1));
    for (i64 j = 0; j < trace.pooled.cols(); ++j) trace.pooled(s, j) /= static_cast<real>(batch.length[s]);
  }
  trace.loss.resize(batch.label.size());
  logits(params, trace, context.lanes, trace.log_p);
  ops::cross_entropy_forward(trace.log_p, batch.label, trace.log_p, trace.loss);
  const std::vector<double> sums = comm::lane_statistics(context.grid.world(), context.lanes, 2, [&](i64 lane, double* row) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 s = rows.begin / length; s < rows.end() / length; ++s) {
      row[0] += trace.loss[s];
      row[1] += batch.label[s] >= 0;
    }
  });
  trace.report = {};
  trace.report.targets = static_cast<i64>(sums[1]);
  trace.report.task = sums[0] / std::max(sums[1], 1.0);
  trunk_.add_auxiliary(trace, trace.report);
}

void Classifier::logits(const ParamSet& params, const ClassifierTrace& trace, const LaneLayout& lanes, Matrix& out) const {
  out.resize(trace.pooled.rows(), classes_);
  for_each_lane_of_sequences(lanes, [&](i64, i64 begin, i64 count) {
    ops::linear_forward(trace.pooled.view().row_range(begin, count), params.value(head_), out.view().row_range(begin, count));
  });
}

void Classifier::backward(ParamSet& params, const LabelledBatch& batch, const StepContext& context, const ClassifierTrace& trace) const {
  const i64 length = context.lanes.seq_len();
  Matrix d_logits(trace.log_p.rows(), classes_), d_pooled(trace.pooled.rows(), trace.pooled.cols()), d_normed(trace.normed.rows(), trace.normed.cols());
  {
    PhaseTimes::Scope phase(context.times, Phase::head);
    const real scale = static_cast<real>(1.0 / static_cast<double>(std::max<i64>(trace.report.targets, 1)));
    ops::cross_entropy_backward(trace.log_p, batch.label, scale, d_logits);
    for_each_lane_of_sequences(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      ops::linear_backward(trace.pooled.view().row_range(begin, count), params.value(head_), d_logits.view().row_range(begin, count),
                           d_pooled.view().row_range(begin, count), params.grad(head_, lane));
    });
    for (i64 s = 0; s < d_pooled.rows(); ++s) {
      for (i64 j = 0; j < d_pooled.cols(); ++j) d_pooled(s, j) /= static_cast<real>(batch.length[s]);
      ops::add_bias(d_normed.view().row_range(s * length, batch.length[s]), d_pooled.view().row_range(s, 1));
    }
  }
  trunk_.backward(params, batch.input, masks_of(batch), d_normed, with_padding(context, trace), trace);
}

void Classifier::update_buffers(ParamSet& params, const StepContext& context, const ClassifierTrace& trace) const {
  trunk_.update_buffers(params, with_padding(context, trace), trace);
}

}  // namespace pleiad::model
