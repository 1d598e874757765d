#include "pleiad/model/moe_layer.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/experts/neuron_bank.hpp"
#include "pleiad/experts/value_bank.hpp"
#include "pleiad/model/presets.hpp"
#include "pleiad/model/widths.hpp"

namespace pleiad::model {

namespace {

std::unique_ptr<experts::ExpertBank> make_bank(ParamSet& params, const MoeConfig& c, const std::string& prefix, i64 width, const ExpertMap& map,
                                               i64 owner, i64 layer, i64 model_layers) {
  if (c.bank == routing::Bank::neuron) {
    return std::make_unique<experts::NeuronBank>(params, prefix + "peer/", c.expert_kind.activation, width, map, owner);
  }
  if (c.bank == routing::Bank::value) return std::make_unique<experts::ValueBank>(params, prefix + "pkm/", width, map, owner);
  return std::make_unique<experts::FfnBank>(params, prefix, c.expert_kind, width, c.expert_widths, map, owner, layer, model_layers);
}

}  // namespace

MoeLayer::MoeLayer(ParamSet& params, Spec& moe, const MoeConfig& config, const std::string& prefix, i64 width, i64 layer,
                   i64 model_layers, const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger, const HyperNetwork* hyper,
                   i64 moe_layer)
    : map_(config.owners.empty() ? ExpertMap(config.placement, config.expert_widths, grid.expert_group().size())
                                 : ExpertMap(config.owners[moe_layer], grid.expert_group().size())),
      layer_(layer),
      k_bins_(k_bins(map_.experts(), config.bank != routing::Bank::feed_forward)),
      exchanger_(exchanger),
      router_(routing::router_variant(config.router).make({params, prefix, width, config.expert_widths, config.split}, moe)),
      bank_(make_bank(params, config, prefix, width, map_, grid.expert_group().rank(), layer, model_layers)) {
  if (config.adapter.kind != AdapterConfig::Kind::none) adapter_.emplace(params, prefix + "adapter/", config.adapter, map_.experts(), width, model_layers);
  if (hyper) hyper_.emplace(params, prefix + "hyper/", *hyper, map_.experts(), width, moe_layer);
  if (config.shadow.most > 0) {
    shadows_.emplace(config.shadow, *bank_, config.expert_kind, width, config.expert_widths, map_, grid.expert_group(), layer * map_.experts());
  }
}

routing::RoutingContext MoeLayer::routing_context(const StepContext& c, const routing::AttentionMaps& attention) const {
  return {c.grid.world(), c.lanes, c.seed, layer_, c.step, c.training, c.given_noise, attention, c.token_ids, c.real_tokens, c.real_in_batch};
}

void MoeLayer::forward(const ParamSet& params, ConstMatrixView x, const routing::AttentionMaps& attention, const StepContext& context,
                       MoeTrace& trace, MatrixView y) const {
  routing::RoutingContext to_route = routing_context(context, attention);
  to_route.spent = trace.router.get();
  {  // 1 who goes where
    PhaseTimes::Scope phase(context.times, Phase::router);
    trace.router = router_->forward(params, x, to_route);
  }
  const routing::Assignment& assignment = trace.router->assignment;
  {  // 2 what travels
    PhaseTimes::Scope phase(context.times, Phase::plan);
    trace.shadow = ShadowTrace();
    if (shadows_ && context.training) shadows_->choose(assignment, context.lanes, trace.shadow);
    trace.plan = exchanger_.make_plan(trace.shadow.rest_of(assignment), map_, context.lanes, x.cols);
    if (shadows_) shadows_->add_traffic(trace.shadow, trace.plan);
    count_statistics(*trace.router, to_route, k_bins_, trace.statistics);
    trace.statistics.traffic = trace.plan.traffic;
  }
  std::unique_ptr<exchange::RoundTrip> trip;
  ConstMatrixView tokens;
  {  // 3 tokens to their experts
    PhaseTimes::Scope phase(context.times, Phase::exchange);
    trip = exchanger_.start_forward(x, trace.shadow.rest_of(assignment), trace.plan, trace.arrived, y);
    tokens = trip->begin();
  }
  {  // 4 what the experts make of them
    PhaseTimes::Scope phase(context.times, Phase::expert);
    bank_->forward(params, tokens, trace.plan.at_experts, trace.bank, trip->landing());
  }
  {  // 5 results home, weighted and summed
    PhaseTimes::Scope phase(context.times, Phase::exchange);
    trip->leave({});
    trip->finish();
  }
  if (shadows_) shadows_->forward(params, x, context, trace.shadow, y);  // and experts that came to the tokens
  if (hyper_) {  // and one more small expert, made from those that were not chosen
    PhaseTimes::Scope phase(context.times, Phase::expert);
    hyper_->forward(params, x, assignment, context, trace.hyper, y);
    trace.statistics.generated_experts = static_cast<i64>(trace.hyper.sets.size());
  }
  if (adapter_) {  // or a free one, the control of that
    PhaseTimes::Scope phase(context.times, Phase::expert);
    adapter_->forward(params, x, assignment, context, trace.adapter, y);
  }
}

void MoeLayer::backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const MoeTrace& trace,
                        double loss_scale, MatrixView d_x) const {
  const routing::Assignment& assignment = trace.router->assignment;
  std::vector<real> d_row_weight(static_cast<std::size_t>(trace.plan.rows())), d_weight(assignment.expert.size());
  if (hyper_) {
    PhaseTimes::Scope phase(context.times, Phase::expert);
    hyper_->backward(params, x, d_y, context, trace.hyper, d_x);
  }
  if (adapter_) {
    PhaseTimes::Scope phase(context.times, Phase::expert);
    adapter_->backward(params, x, d_y, trace.adapter, d_x);
  }
  std::unique_ptr<exchange::RoundTrip> trip;
  ConstMatrixView d_out;
  {  // 5' the gradient of each token's output to the owners of its experts
    PhaseTimes::Scope phase(context.times, Phase::exchange);
    trip = exchanger_.start_backward(d_y, trace.shadow.rest_of(assignment), trace.plan, d_x, d_weight);
    d_out = trip->begin();
  }
  {  // 4' through the experts; the weights get their gradient here, where the activations are
    PhaseTimes::Scope phase(context.times, Phase::expert);
    bank_->backward(params, trace.arrived.tokens, trace.plan.at_experts, trace.bank, d_out, trip->landing(), d_row_weight);
  }
  context.look_after_messages();
  {  // 3' home again (2' is integers: no gradient)
    PhaseTimes::Scope phase(context.times, Phase::exchange);
    trip->leave(d_row_weight);
    trip->finish();
  }
  if (shadows_) shadows_->backward(params, x, d_y, context, trace.shadow, d_x, d_weight);
  context.look_after_messages();
  {  // 1' through the router, which adds its auxiliary losses
    PhaseTimes::Scope phase(context.times, Phase::router);
    router_->backward(params, x, routing_context(context, {}), *trace.router, d_weight, loss_scale, d_x);
  }
}

void MoeLayer::update_buffers(ParamSet& params, const StepContext& context, const MoeTrace& trace) const {
  router_->update_buffers(params, *trace.router, routing_context(context, {}));
}

namespace {

constexpr i64 k_most_experts = i64{1} << 24;

/// Widths of moe.experts experts of width moe.expert_width, or of the smaller ones that moe.split makes of them: s experts of 1/s the width
/// in place of each. The values in the configuration stay those of the base model.
std::vector<i64> read_widths(Spec& moe, i64 experts, i64 widest, i64& split) {
  const i64 width = moe.integer("expert_width", 256, 1, widest, "hidden width of an expert; the mean where widths differ");
  split = moe.integer("split", 1, 1, k_most_experts, "small experts that each expert becomes, of 1/split the width; capacity_factor is multiplied by it");
  if (width % split != 0) user_error("moe.split = {}: must divide moe.expert_width = {}", split, width);
  if (split > k_most_experts / experts) user_error("moe.split = {}: with moe.experts = {} that is more than {} experts", split, experts, k_most_experts);
  return distributed_widths(moe, split * experts, width / split);
}

/// How many experts of which width and kind.
void read_experts(Spec& moe, MoeConfig& c) {
  if (c.bank == routing::Bank::feed_forward) {
    const i64 experts = moe.integer("experts", 8, 1, k_most_experts, "number of experts in a layer"), widest = i64{1} << 31;
    if (moe.has("expert_widths")) {
      c.expert_widths = moe.integers("expert_widths", {}, 1, widest, "hidden width of each expert, instead of expert_width");
      if (static_cast<i64>(c.expert_widths.size()) != experts) {
        user_error("moe.expert_widths has {} entries: moe.experts is {}, so {} widths are needed", c.expert_widths.size(), experts, experts);
      }
    } else {
      c.expert_widths = read_widths(moe, experts, widest, c.split);
    }
    c.expert_kind = experts::FeedForwardKind::read(moe);
    c.placement = expert_placement_from(moe.choice("placement", "block", {"block", "round_robin", "balanced"}, "which rank owns which expert"));
  } else {
    // The router of these variants fixes the number of experts, one neuron or one row each.
    const i64 keys = moe.integer("sub_keys", 64, 1, 1 << 15, "sub-keys n of each half; there are n * n experts");
    c.expert_widths.assign(static_cast<std::size_t>(keys * keys), 1);
    if (c.bank == routing::Bank::neuron) {
      c.expert_kind = experts::FeedForwardKind::from(moe.choice("activation", "gelu", {"relu", "gelu"}, "activation of a neuron"), false);
    }
  }
}

/// What stands beside the experts: a generated expert or adapters.
void read_side_experts(Spec& moe, MoeConfig& c) {
  using Kind = AdapterConfig::Kind;
  c.hyper = HyperConfig::read(moe);
  if (c.hyper.on) c.citation += "; Zhao et al.: HyperMoE (ACL 2024, arXiv 2402.12656)";
  if (std::ranges::adjacent_find(c.expert_widths, std::not_equal_to<>()) != c.expert_widths.end()) c.citation += "; Wang et al.: HMoE (EMNLP 2025, arXiv 2408.10681)";
  if (c.citation.starts_with("; ")) c.citation.erase(0, 2);
  c.hyper.layers = std::max<i64>(1, static_cast<i64>(c.layers.size()));
  c.adapter = AdapterConfig::read(moe);
  const bool networks = c.bank == routing::Bank::feed_forward;
  if (c.hyper.on && !networks) user_error("moe.hyper = true: does not go with moe.router = {}, whose experts are not networks", c.router);
  if (c.adapter.kind == Kind::per_expert && !networks) {
    user_error("moe.adapter = per_expert: does not go with moe.router = {}, whose experts are not networks; shared does", c.router);
  }
  if (c.adapter.kind != Kind::none && c.hyper.on) {
    user_error("moe.adapter = {}: does not go with moe.hyper = true; an adapter is a control in place of the generated expert",
               c.adapter.kind == Kind::shared ? "shared" : "per_expert");
  }
}

}  // namespace

MoeConfig MoeConfig::read(Spec& moe, i64 model_layers) {
  if (moe.has("expert_widths")) {  // asked before the preset has a say: a list of the user wins over its distribution
    for (const char* other : {"expert_width", "width_distribution", "width_ratio", "split"}) {
      if (moe.has(other)) user_error("moe.{} contradicts moe.expert_widths: give one of the two", other);
    }
  }
  apply_preset(moe);
  MoeConfig c;
  c.router = moe.choice("router", "topk", routing::router_names(), "which routing variant");
  c.citation = routing::router_variant(c.router).citation;
  c.bank = routing::router_variant(c.router).bank;
  read_experts(moe, c);
  if (moe.text("layers", "all", "blocks that carry experts: all, none, or a list such as 1,3") == "all") {
    c.layers.resize(static_cast<std::size_t>(model_layers));
    std::iota(c.layers.begin(), c.layers.end(), i64{0});
  } else {
    c.layers = moe.integers("layers", {}, 0, model_layers - 1, "blocks that carry experts");
  }
  for (std::size_t i = 1; i < c.layers.size(); ++i) {
    if (c.layers[i] <= c.layers[i - 1]) user_error("moe.layers = {}: block numbers must ascend", fmt::join(c.layers, ","));
  }
  read_side_experts(moe, c);
  c.allow_noncausal = moe.flag("allow_noncausal", false, "let a router of a causal model look at later tokens");
  return c;
}

}  // namespace pleiad::model
