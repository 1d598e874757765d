// The Mixture-of-Experts layer: router, exchange and experts put together. The story of a token batch is moe_layer.cpp, read
// downward. Letters: T tokens of this rank, D width, N experts, R rows that arrived at this rank.
#pragma once
#include <memory>
#include <optional>

#include "pleiad/exchange/exchanger.hpp"
#include "pleiad/experts/ffn_bank.hpp"
#include "pleiad/model/adapter.hpp"
#include "pleiad/model/context.hpp"
#include "pleiad/model/hyper_expert.hpp"
#include "pleiad/model/layer_statistics.hpp"
#include "pleiad/model/shadow_experts.hpp"
#include "pleiad/routing/registry.hpp"

namespace pleiad::model {

/// Section [moe] as far as it does not belong to a router.
struct MoeConfig {
  std::string router;
  std::string citation;
  routing::Bank bank = routing::Bank::feed_forward;
  std::vector<i64> expert_widths;  // [N]
  i64 split = 1;                   // experts that each of moe.experts became
  experts::FeedForwardKind expert_kind;
  ExpertPlacement placement = ExpertPlacement::block;
  std::vector<std::vector<i64>> owners;  // [MoE layers x N] instead of `placement`: what training found out (train/placement.hpp)
  std::vector<i64> layers;  // blocks that carry experts
  bool allow_noncausal = false;
  HyperConfig hyper;
  AdapterConfig adapter;
  ShadowConfig shadow;

  /// Applies moe.preset, then reads the section. UserError for values that contradict each other.
  static MoeConfig read(Spec& moe, i64 model_layers);
};

struct MoeTrace {
  std::unique_ptr<routing::RouterTrace> router;
  exchange::ExchangePlan plan;
  exchange::Kept arrived;
  experts::BankTrace bank;
  HyperTrace hyper;
  AdapterTrace adapter;
  ShadowTrace shadow;
  LayerStatistics statistics;
};

class MoeLayer {
 public:
  /// Adds its parameters under `prefix` (router/..., experts/<e>/..., adapter/...). `layer` is the block number, `moe_layers` how many blocks
  /// carry experts. grid, exchanger and hyper must outlive this; hyper may be null, `moe_layer` counts MoE layers.
  MoeLayer(ParamSet& params, Spec& moe, const MoeConfig& config, const std::string& prefix, i64 width, i64 layer, i64 model_layers,
           const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger, const HyperNetwork* hyper = nullptr, i64 moe_layer = 0);

  /// x [T,D] -> y [T,D] (overwritten). `attention` are the maps of the same block. collective over the world.
  void forward(const ParamSet& params, ConstMatrixView x, const routing::AttentionMaps& attention, const StepContext& context,
               MoeTrace& trace, MatrixView y) const;
  /// d_y [T,D] -> adds to d_x [T,D] and to the parameter gradients. `loss_scale` multiplies the coefficients of the auxiliary
  /// losses. collective over the world.
  void backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const MoeTrace& trace,
                double loss_scale, MatrixView d_x) const;
  /// Once after each update: routing::Router::update_buffers. collective over the world.
  void update_buffers(ParamSet& params, const StepContext& context, const MoeTrace& trace) const;

  bool causal() const { return router_->causal(); }
  const ExpertMap& expert_map() const { return map_; }
  const experts::ExpertBank& bank() const { return *bank_; }
  i64 layer() const { return layer_; }
  /// Whether the router finds some tokens more important than others (RouterTrace::importance).
  bool has_importance() const { return router_->has_importance(); }
  /// Trainable numbers of an expert.
  i64 parameters_of(i64 expert) const { return bank_->parameters_of(expert); }
  /// Forward floating-point operations of one row of an expert, and of the router for one token.
  double flops_per_row(i64 expert) const { return bank_->flops_per_row(expert); }
  double router_flops_per_token() const { return router_->flops_per_token(); }
  /// routing::Router::selected_per_token().
  double selected_per_token() const { return router_->selected_per_token(); }
  double most_per_token() const { return router_->most_per_token(); }
  /// Of what a token gets beside its experts, without a gate: for one token (the generated expert, generating it not counted; a shared
  /// adapter), and for each expert the token selected (an adapter of each expert).
  double side_flops_per_token() const { return hyper_ ? hyper_->flops_per_token() : adapter_ ? adapter_->flops_per_token() : 0; }
  double side_flops_per_selection() const { return adapter_ ? adapter_->flops_per_selection() : 0; }

 private:
  routing::RoutingContext routing_context(const StepContext& context, const routing::AttentionMaps& attention) const;

  ExpertMap map_;
  i64 layer_, k_bins_;
  const exchange::Exchanger& exchanger_;
  std::unique_ptr<routing::Router> router_;
  std::unique_ptr<experts::ExpertBank> bank_;
  std::optional<HyperExpert> hyper_;
  std::optional<Adapter> adapter_;
  std::optional<ShadowExperts> shadows_;
};

}  // namespace pleiad::model
