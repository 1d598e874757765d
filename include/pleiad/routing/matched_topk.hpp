// Top-k with a mean number of experts that need not be whole: the control at equal FLOPs for variants whose number of experts per
// token varies. With m = mean_k, token i of the global batch (from 0, padding included) gets its
//   K_i = floor((i + 1) m) - floor(i m)
// most probable experts, so any run of n tokens has n m of them, to within one, and K depends on nothing but the place.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class MatchedTopKRouter : public SoftmaxRouter {
 public:
  MatchedTopKRouter(const RouterBuild& build, Spec& spec);
  /// K_i of global token i >= 0, exact for every i.
  i64 experts_for(i64 token) const;
  double selected_per_token() const override;

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  std::uint64_t mean_k_;  // in units of 2^-20
};

RouterVariant matched_topk_variant();

}  // namespace pleiad::routing
