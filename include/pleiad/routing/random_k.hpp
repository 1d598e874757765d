// Top-k with a number of experts drawn at random for every token from a given histogram: the control for variants that claim to know
// which tokens need more experts. K_t is a function of (seed, layer, step, global token) in training, of (layer, global token) in
// evaluation, and never of what the token says.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class RandomKRouter : public SoftmaxRouter {
 public:
  RandomKRouter(const RouterBuild& build, Spec& spec);
  double selected_per_token() const override;

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  /// K for a number u in (0, 1].
  i64 experts_for(double u) const;
  std::vector<double> cumulative_;  // of the weights of K = 1, 2, ...; the last one has a weight
};

RouterVariant random_k_variant();

}  // namespace pleiad::routing
