// Attention-driven number of experts (DA-MoE, arXiv 2409.06669): attention_count.hpp says how many a token gets; they are its most probable ones.
// Weights renormalised; raw where K = 1, so that the router keeps its gradient.
#pragma once
#include "pleiad/routing/attention_count.hpp"
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class DaMoeRouter : public SoftmaxRouter {
 public:
  DaMoeRouter(const RouterBuild& build, Spec& spec);
  bool causal() const override { return SoftmaxRouter::causal() && count_.causal(); }
  bool has_importance() const override { return true; }

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  AttentionCount count_;
};

RouterVariant damoe_variant();

}  // namespace pleiad::routing
