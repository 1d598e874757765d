// Top-k routing: the k most probable experts, weighted by their probability, raw (Switch, Fedus et al. 2021) or renormalised
// over the selection (GShard, Lepikhin et al. 2020; Mixtral, Jiang et al. 2024). k = 1 is Switch. Options: docs/routing.md.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class TopKRouter : public SoftmaxRouter {
 public:
  TopKRouter(const RouterBuild& build, Spec& spec);
  double selected_per_token() const override { return static_cast<double>(k_); }

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  TopKRouter(const RouterBuild& build, Spec& spec, i64 k);
  i64 k_;
};

/// moe.k, checked against the number of experts; shared by every router with a fixed k.
i64 read_k(const RouterBuild& build, Spec& spec);

RouterVariant topk_variant();

}  // namespace pleiad::routing
