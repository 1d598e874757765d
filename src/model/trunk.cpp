#include "pleiad/model/trunk.hpp"

#include <algorithm>

#include "pleiad/ops/embedding.hpp"

namespace pleiad::model {

namespace {

StepContext with_tokens(const StepContext& context, std::span<const std::int32_t> token) {
  StepContext c = context;
  c.token_ids = token;
  return c;
}

}  // namespace

Trunk::Trunk(ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config, const comm::ProcessGrid& grid,
             const exchange::Exchanger& exchanger, bool must_be_causal, double embedding_scale)
    : config_(config), moe_config_(moe_config), rotary_(config.seq_len, config.width / config.heads, config.rope_base) {
  embed_ = params.add({.name = k_embedding, .shape = {config.vocab, config.width}, .init = Init::normal(embedding_scale), .decay = false});
  if (moe_config.hyper.on && !moe_config.layers.empty()) {
    hyper_ = std::make_unique<HyperNetwork>(params, "hyper_shared/", moe_config.hyper, config.width);
  }
  for (i64 i = 0; i < config.layers; ++i) {
    const auto at = std::ranges::find(moe_config_.layers, i);
    const i64 moe_layer = at == moe_config_.layers.end() ? -1 : at - moe_config_.layers.begin();
    blocks_.emplace_back(params, config, i, moe_layer, moe, moe_config, grid, exchanger, hyper_.get());
  }
  if (must_be_causal && !causal() && !moe_config.allow_noncausal) {
    const auto capacity = moe.given().find("eval_capacity");
    user_error("moe.router = {}: looks at later tokens with these options{}, which a causal model must not; moe.allow_noncausal = true lets it", moe_config.router,
               capacity != moe.given().end() && capacity->second == "train" ? " (moe.eval_capacity = train: they compete for the experts)" : "");
  }
  norm_final_ = params.add({.name = "norm_final", .shape = {config.width}, .init = Init::ones(), .decay = false});
}

void Trunk::forward(const ParamSet& params, std::span<const std::int32_t> token, std::span<const ops::Mask> masks, const StepContext& outer,
                    TrunkTrace& trace) const {
  const StepContext context = with_tokens(outer, token);
  PLEIAD_CHECK(static_cast<i64>(token.size()) == context.lanes.my_tokens(), "batch of {} for {} tokens", token.size(), context.lanes.my_tokens());
  PLEIAD_CHECK(context.lanes.seq_len() <= config_.seq_len, "sequence of {}", context.lanes.seq_len());
  trace.blocks.resize(blocks_.size());
  Matrix& x = trace.x_out;
  {
    PhaseTimes::Scope phase(context.times, Phase::embed);
    x.resize_uninitialised(static_cast<i64>(token.size()), config_.width);
    ops::embedding_forward(token, params.value(embed_), x);
  }
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    context.times.at_block(static_cast<i64>(i));
    blocks_[i].forward(params, rotary_, masks, context, trace.blocks[i], room_, x);
  }
  context.times.at_block(-1);
  {
    PhaseTimes::Scope phase(context.times, Phase::plan);  // of all layers
    std::vector<LayerStatistics*> counted;
    for (const i64 layer : moe_layers()) counted.push_back(&trace.blocks[layer].moe.statistics);
    sum_statistics(context.grid.world(), counted);
  }
  PhaseTimes::Scope phase(context.times, Phase::norm);
  norm_forward(params, norm_final_, static_cast<real>(config_.rms_eps), x, trace.normed, trace.inv_rms);
}

void Trunk::backward(ParamSet& params, std::span<const std::int32_t> token, std::span<const ops::Mask> masks, ConstMatrixView d_normed,
                     const StepContext& outer, const TrunkTrace& trace) const {
  const StepContext context = with_tokens(outer, token);
  Matrix& d_x = d_x_;
  d_x.resize(trace.x_out.rows(), trace.x_out.cols());
  {
    PhaseTimes::Scope phase(context.times, Phase::norm);
    norm_backward(params, norm_final_, trace.x_out, trace.inv_rms, d_normed, context.lanes, d_x);
  }
  context.complete_from(norm_final_);
  const double aux_scale = moe_layers().empty() ? 0 : context.auxiliary / static_cast<double>(moe_layers().size());
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    context.times.at_block(static_cast<i64>(i));
    blocks_[i].backward(params, rotary_, masks, context, trace.blocks[i], aux_scale, room_, d_x);
    context.complete_from(blocks_[i].first_parameter());
  }
  context.times.at_block(-1);
  PhaseTimes::Scope phase(context.times, Phase::embed);
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    ops::embedding_backward(token.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)), d_x.view().row_range(begin, count),
                            params.grad(embed_, lane));
  });
}

void Trunk::update_buffers(ParamSet& params, const StepContext& context, const TrunkTrace& trace) const {
  for (const i64 layer : moe_layers()) blocks_[layer].moe()->update_buffers(params, context, trace.blocks[layer].moe);
}

void Trunk::add_auxiliary(const TrunkTrace& trace, LossReport& r) const {
  for (const i64 layer : moe_layers()) {
    const auto& losses = trace.blocks[layer].moe.router->losses;
    if (r.auxiliary.empty()) {
      for (const auto& loss : losses) r.auxiliary.push_back({loss.name, 0, loss.coefficient});
    }
    for (std::size_t i = 0; i < losses.size(); ++i) r.auxiliary[i].value += losses[i].value / static_cast<double>(moe_layers().size());
  }
  r.total = r.task;
  for (const auto& loss : r.auxiliary) r.total += loss.coefficient * loss.value;
}

std::vector<const LayerStatistics*> Trunk::statistics(const TrunkTrace& trace) const {
  std::vector<const LayerStatistics*> all;
  for (const i64 layer : moe_layers()) all.push_back(&trace.blocks[layer].moe.statistics);
  return all;
}

bool Trunk::causal() const {
  return std::ranges::all_of(blocks_, [](const Block& b) { return !b.moe() || b.moe()->causal(); });
}

double Trunk::fixed_flops_per_token() const {
  double flops = 0;
  for (const Block& b : blocks_) {
    flops += b.dense_flops_per_token(config_.seq_len) + (b.moe() ? b.moe()->router_flops_per_token() + b.moe()->side_flops_per_token() : 0);
  }
  return flops;
}

}  // namespace pleiad::model
