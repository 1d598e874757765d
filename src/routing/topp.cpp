#include "pleiad/routing/topp.hpp"

namespace pleiad::routing {

TopPRouter::TopPRouter(const RouterBuild& build, Spec& spec)
    : SoftmaxRouter(build, spec, WeightRule::renormalized, 1),
      mass_(spec.number("p", 0.6, 0, 1, "probability mass that the experts of a token reach")) {}

Assignment TopPRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  return select_mass(p, mass_, context.real_tokens);
}

RouterVariant topp_variant() {
  return {"topp", "the fewest experts that reach a probability mass, renormalised",
          "Huang et al.: Harder Tasks Need More Experts (ACL 2024, arXiv 2403.07652); Wang et al.: HMoE (EMNLP 2025, arXiv 2408.10681)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<TopPRouter>(b, s); }};
}

}  // namespace pleiad::routing
