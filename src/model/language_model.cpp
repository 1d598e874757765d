#include "pleiad/model/language_model.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/ops/cross_entropy.hpp"
#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

namespace {

double head_scale(const ModelConfig& c) { return 1 / std::sqrt(static_cast<double>(c.width)); }

}  // namespace

// A tied table must be small enough for the head; a table of its own may have the size of the normalised stream's parts.
LanguageModel::LanguageModel(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config,
                             const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger, Task task)
    : Model(task, {params, config, moe, moe_config, grid, exchanger, predicts_next(task), config.tied_head ? head_scale(config) : 0.5}),
      head_(config.tied_head ? trunk_.embedding()
                             : params.add({.name = k_head, .shape = {config.vocab, config.width}, .init = Init::normal(head_scale(config))})) {}

std::vector<ops::Mask> LanguageModel::masks_of(const Batch& batch, const LaneLayout& lanes) const {
  std::vector<ops::Mask> masks;
  for (i64 s = 0; s < lanes.my_sequences().count; ++s) {
    const i64 length = batch.length_of(s, lanes.seq_len());
    masks.push_back(predicts_next(task_) ? ops::Mask::prefix_lm(length, batch.prefix.empty() ? 0 : batch.prefix[s]) : ops::Mask::bidirectional(length));
  }
  return masks;
}

void LanguageModel::forward(const ParamSet& params, const Batch& batch, const StepContext& context, ModelTrace& trace) const {
  PLEIAD_CHECK(batch.target.size() == batch.input.size(), "{} targets for {} tokens", batch.target.size(), batch.input.size());
  mark_padding(batch, context, trace);
  trunk_.forward(params, batch.input, masks_of(batch, context.lanes), with_padding(context, trace), trace);
  PhaseTimes::Scope phase(context.times, Phase::head);
  trace.loss.resize(batch.target.size());
  logits(params, trace, context.lanes, trace.log_p);
  for_each_lane(context.lanes, [&](i64, i64 begin, i64 count) {
    const MatrixView log_p = trace.log_p.view().row_range(begin, count);
    const std::size_t b = static_cast<std::size_t>(begin), n = static_cast<std::size_t>(count);
    ops::cross_entropy_forward(log_p, std::span(batch.target).subspan(b, n), log_p, std::span(trace.loss).subspan(b, n));
  });
  trace.report = report(trace, batch, context);
}

void LanguageModel::logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const {
  out.resize_uninitialised(trace.normed.rows(), config().vocab);
  for_each_lane(lanes, [&](i64, i64 begin, i64 count) {
    ops::linear_forward(trace.normed.view().row_range(begin, count), params.value(head_), out.view().row_range(begin, count));
  });
}

void LanguageModel::backward(ParamSet& params, const Batch& batch, const StepContext& context, const ModelTrace& trace) const {
  Matrix& d_normed = d_normed_;
  d_normed.resize_uninitialised(trace.normed.rows(), trace.normed.cols());
  {
    PhaseTimes::Scope phase(context.times, Phase::head);
    const real scale = static_cast<real>(1.0 / static_cast<double>(std::max<i64>(trace.report.targets, 1)));
    for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      d_logits_.resize_uninitialised(count, config().vocab);
      const std::size_t b = static_cast<std::size_t>(begin), n = static_cast<std::size_t>(count);
      ops::cross_entropy_backward(trace.log_p.view().row_range(begin, count), std::span(batch.target).subspan(b, n), scale, d_logits_);
      ops::linear_backward(trace.normed.view().row_range(begin, count), params.value(head_), d_logits_,
                           d_normed.view().row_range(begin, count), params.grad(head_, lane));
    });
  }
  if (!config().tied_head) context.complete_from(head_);
  trunk_.backward(params, batch.input, masks_of(batch, context.lanes), d_normed, with_padding(context, trace), trace);
}

double LanguageModel::fixed_flops_per_token() const {
  return trunk_.fixed_flops_per_token() + 2.0 * static_cast<double>(config().vocab * config().width);
}

}  // namespace pleiad::model
