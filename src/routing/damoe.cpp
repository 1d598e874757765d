#include "pleiad/routing/damoe.hpp"

namespace pleiad::routing {

DaMoeRouter::DaMoeRouter(const RouterBuild& build, Spec& spec)
    : SoftmaxRouter(build, spec, read_raw_if_single(spec), 1), count_(spec, build.experts(), "experts") {}

Assignment DaMoeRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const {
  return select_top_counts(p, count_.count(context, trace.importance));
}

RouterVariant damoe_variant() {
  return {"damoe", "attention decides how many experts a token gets",
          "Aghdam et al.: DA-MoE: Towards Dynamic Expert Allocation for Mixture-of-Experts Models (2024, arXiv 2409.06669)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<DaMoeRouter>(b, s); }};
}

}  // namespace pleiad::routing
