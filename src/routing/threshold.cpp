#include "pleiad/routing/threshold.hpp"

namespace pleiad::routing {

namespace {

WeightRule read_rule(Spec& spec) {
  return spec.flag("renormalize", false, "divide weights by their sum over the chosen experts") ? WeightRule::renormalized : WeightRule::raw;
}

}  // namespace

ThresholdRouter::ThresholdRouter(const RouterBuild& build, Spec& spec)
    : SoftmaxRouter(build, spec, read_rule(spec), 1),
      mass_(spec.number("threshold", 0.9, 0, 1, "probability mass that the experts of a token reach; 0: one expert, 1: all")) {}

Assignment ThresholdRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  return select_mass(p, mass_, context.real_tokens);
}

RouterVariant threshold_variant() {
  return {"threshold", "the fewest experts that reach a probability mass, raw weights",
          "Yang et al.: XMoE: Sparse Models with Fine-grained and Adaptive Expert Selection (ACL Findings 2024, arXiv 2403.18926)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<ThresholdRouter>(b, s); }};
}

}  // namespace pleiad::routing
