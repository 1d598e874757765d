// Threshold routing (XMoE, Yang et al. 2024): down the sorted probabilities until their mass reaches the threshold; raw weights.
// threshold = 0 is top-1, threshold = 1 is all experts.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class ThresholdRouter : public SoftmaxRouter {
 public:
  ThresholdRouter(const RouterBuild& build, Spec& spec);

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  double mass_;
};

RouterVariant threshold_variant();

}  // namespace pleiad::routing
