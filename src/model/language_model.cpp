#include "pleiad/model/language_model.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/ops/cross_entropy.hpp"
#include "pleiad/ops/embedding.hpp"
#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

LanguageModel::LanguageModel(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config,
                             const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger)
    : config_(config), moe_config_(moe_config), rotary_(config.seq_len, config.width / config.heads, config.rope_base) {
  const double head_scale = 1 / std::sqrt(static_cast<double>(config.width));
  // A tied table must be small enough for the head; a table of its own may have the size of the normalised stream's parts.
  embed_ = params.add({.name = "embed", .shape = {config.vocab, config.width}, .init = Init::normal(config.tied_head ? head_scale : 0.5), .decay = false});
  if (moe_config.hyper.on && !moe_config.layers.empty()) {
    hyper_ = std::make_unique<HyperNetwork>(params, "hyper_shared/", moe_config.hyper, config.width);
  }
  for (i64 i = 0; i < config.layers; ++i) {
    const auto at = std::ranges::find(moe_config.layers, i);
    const i64 moe_layer = at == moe_config.layers.end() ? -1 : at - moe_config.layers.begin();
    blocks_.emplace_back(params, config, i, moe_layer, moe, moe_config, grid, exchanger, hyper_.get());
  }
  if (!causal() && !moe_config.allow_noncausal) {
    user_error("moe.router = {}: looks at later tokens with these options, which a causal model must not; moe.allow_noncausal = true lets it", moe_config.router);
  }
  norm_final_ = params.add({.name = "norm_final", .shape = {config.width}, .init = Init::ones(), .decay = false});
  head_ = config.tied_head ? embed_ : params.add({.name = "head", .shape = {config.vocab, config.width}, .init = Init::normal(head_scale)});
}

std::vector<ops::Mask> LanguageModel::masks(const StepContext& context) const {
  return std::vector<ops::Mask>(static_cast<std::size_t>(context.lanes.my_sequences().count), ops::Mask::causal(context.lanes.seq_len()));
}

StepContext LanguageModel::with_tokens(const StepContext& context, const Batch& batch) const {
  StepContext c = context;
  c.token_ids = batch.input;
  return c;
}

bool LanguageModel::causal() const {
  return std::ranges::all_of(blocks_, [](const Block& b) { return !b.moe() || b.moe()->causal(); });
}

void LanguageModel::update_buffers(ParamSet& params, const StepContext& context, const ModelTrace& trace) const {
  for (const i64 layer : moe_layers()) blocks_[layer].moe()->update_buffers(params, context, trace.blocks[layer].moe);
}

void LanguageModel::forward(const ParamSet& params, const Batch& batch, const StepContext& outer, ModelTrace& trace) const {
  const StepContext context = with_tokens(outer, batch);
  const i64 tokens = context.lanes.my_tokens();
  PLEIAD_CHECK(static_cast<i64>(batch.input.size()) == tokens && batch.target.size() == batch.input.size(), "batch of {} for {} tokens",
               batch.input.size(), tokens);
  PLEIAD_CHECK(context.lanes.seq_len() <= config_.seq_len, "sequence of {}", context.lanes.seq_len());
  trace.blocks.resize(blocks_.size());
  Matrix& x = trace.x_out;
  {
    PhaseTimes::Scope phase(context.times, Phase::embed);
    x.resize_uninitialised(tokens, config_.width);
    ops::embedding_forward(batch.input, params.value(embed_), x);
  }
  const std::vector<ops::Mask> mask = masks(context);
  for (std::size_t i = 0; i < blocks_.size(); ++i) blocks_[i].forward(params, rotary_, mask, context, trace.blocks[i], x);

  PhaseTimes::Scope phase(context.times, Phase::head);
  norm_forward(params, norm_final_, static_cast<real>(config_.rms_eps), x, trace.normed, trace.inv_rms);
  trace.token_loss.resize(static_cast<std::size_t>(tokens));
  logits(params, trace, context.lanes, trace.log_p);
  for_each_lane(context.lanes, [&](i64, i64 begin, i64 count) {
    const MatrixView log_p = trace.log_p.view().row_range(begin, count);
    const std::size_t b = static_cast<std::size_t>(begin), n = static_cast<std::size_t>(count);
    ops::cross_entropy_forward(log_p, std::span(batch.target).subspan(b, n), log_p, std::span(trace.token_loss).subspan(b, n));
  });
  trace.report = report(trace, batch.target, context);
}

void LanguageModel::logits(const ParamSet& params, const ModelTrace& trace, const LaneLayout& lanes, Matrix& out) const {
  out.resize_uninitialised(trace.normed.rows(), config_.vocab);
  for_each_lane(lanes, [&](i64, i64 begin, i64 count) {
    ops::linear_forward(trace.normed.view().row_range(begin, count), params.value(head_), out.view().row_range(begin, count));
  });
}

void LanguageModel::backward(ParamSet& params, const Batch& batch, const StepContext& outer, const ModelTrace& trace) const {
  const StepContext context = with_tokens(outer, batch);
  Matrix d_x(trace.x_out.rows(), trace.x_out.cols());
  {
    PhaseTimes::Scope phase(context.times, Phase::head);
    const real scale = static_cast<real>(1.0 / static_cast<double>(std::max<i64>(trace.report.targets, 1)));
    Matrix d_logits, d_normed;
    d_normed.resize_uninitialised(d_x.rows(), d_x.cols());
    for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
      d_logits.resize_uninitialised(count, config_.vocab);
      const std::size_t b = static_cast<std::size_t>(begin), n = static_cast<std::size_t>(count);
      ops::cross_entropy_backward(trace.log_p.view().row_range(begin, count), std::span(batch.target).subspan(b, n), scale, d_logits);
      ops::linear_backward(trace.normed.view().row_range(begin, count), params.value(head_), d_logits,
                           d_normed.view().row_range(begin, count), params.grad(head_, lane));
    });
    norm_backward(params, norm_final_, trace.x_out, trace.inv_rms, d_normed, context.lanes, d_x);
  }
  const std::vector<ops::Mask> mask = masks(context);
  const double aux_scale = moe_layers().empty() ? 0 : 1.0 / static_cast<double>(moe_layers().size());
  for (std::size_t i = blocks_.size(); i-- > 0;) blocks_[i].backward(params, rotary_, mask, context, trace.blocks[i], aux_scale, d_x);

  PhaseTimes::Scope phase(context.times, Phase::embed);
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    ops::embedding_backward(std::span(batch.input).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
                            d_x.view().row_range(begin, count), params.grad(embed_, lane));
  });
}

LossReport LanguageModel::report(const ModelTrace& trace, std::span<const std::int32_t> target, const StepContext& context) const {
  const std::vector<double> sums = comm::lane_statistics(context.grid.world(), context.lanes, 2, [&](i64 lane, double* row) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 t = rows.begin; t < rows.end(); ++t) {
      row[0] += trace.token_loss[t];
      row[1] += target[t] >= 0;
    }
  });
  LossReport r;
  r.targets = static_cast<i64>(sums[1]);
  r.task = r.total = sums[0] / std::max(sums[1], 1.0);
  for (const i64 layer : moe_layers()) {
    const auto& losses = trace.blocks[layer].moe.router->losses;
    if (r.auxiliary.empty()) {
      for (const auto& loss : losses) r.auxiliary.push_back({loss.name, 0, loss.coefficient});
    }
    for (std::size_t i = 0; i < losses.size(); ++i) r.auxiliary[i].value += losses[i].value / static_cast<double>(moe_layers().size());
  }
  for (const auto& loss : r.auxiliary) r.total += loss.coefficient * loss.value;
  return r;
}

std::vector<const LayerStatistics*> LanguageModel::statistics(const ModelTrace& trace) const {
  std::vector<const LayerStatistics*> all;
  for (const i64 layer : moe_layers()) all.push_back(&trace.blocks[layer].moe.statistics);
  return all;
}

double LanguageModel::fixed_flops_per_token() const {
  double flops = 2.0 * static_cast<double>(config_.vocab * config_.width);
  for (const Block& b : blocks_) flops += b.dense_flops_per_token(config_.seq_len) + (b.moe() ? b.moe()->router_flops_per_token() + b.moe()->hyper_flops_per_token() : 0);
  return flops;
}

}  // namespace pleiad::model
