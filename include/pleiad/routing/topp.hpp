// Top-p routing: down the sorted probabilities until their mass reaches p; weights renormalised over the selection (Huang et al.
// 2024; HMoE, Wang et al. 2024). A token that is sure gets one expert, an unsure one more.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class TopPRouter : public SoftmaxRouter {
 public:
  TopPRouter(const RouterBuild& build, Spec& spec);

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  double mass_;
};

RouterVariant topp_variant();

}  // namespace pleiad::routing
