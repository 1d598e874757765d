// Top-k routing: the k most probable experts, weighted by their probability, raw (Switch, Fedus et al. 2021) or renormalised
// over the selection (GShard, Lepikhin et al. 2020; Mixtral, Jiang et al. 2024). k = 1 is Switch. Options: docs/routing.md.
#pragma once
#include "pleiad/routing/aux_loss.hpp"
#include "pleiad/routing/capacity.hpp"
#include "pleiad/routing/score.hpp"

namespace pleiad::routing {

class TopKRouter : public Router {
 public:
  TopKRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const override;
  double flops_per_token() const override { return gate_.flops_per_token(); }

 private:
  i64 k_;
  bool renormalize_;
  ScoreGate gate_;
  AuxLosses losses_;
  Capacity capacity_;
};

/// moe.k, checked against the number of experts; shared by every router with a fixed k.
i64 read_k(const RouterBuild& build, Spec& spec);

RouterVariant topk_variant();

}  // namespace pleiad::routing
