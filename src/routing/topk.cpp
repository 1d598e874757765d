#include "pleiad/routing/topk.hpp"

#include <limits>

namespace pleiad::routing {

i64 read_k(const RouterBuild& build, Spec& spec) {
  const i64 k = spec.integer("k", 1, 1, std::numeric_limits<i64>::max(), "experts chosen per token");
  if (k > build.experts()) {
    user_error("moe.k = {}: a token cannot choose more experts than there are; {} is {}, so k may be 1 to {}", k, build.experts_key(),
               build.experts(), build.experts());
  }
  return k;
}

namespace {

WeightRule read_rule(Spec& spec, i64 k) {
  return spec.flag("renormalize", k > 1, "divide weights by their sum over the chosen experts") ? WeightRule::renormalized : WeightRule::raw;
}

}  // namespace

TopKRouter::TopKRouter(const RouterBuild& build, Spec& spec) : TopKRouter(build, spec, read_k(build, spec)) {}

TopKRouter::TopKRouter(const RouterBuild& build, Spec& spec, i64 k) : SoftmaxRouter(build, spec, read_rule(spec, k), k), k_(k) {}

Assignment TopKRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  return select_top_k(p, k_, context.real_tokens);
}

RouterVariant topk_variant() {
  return {"topk", "the k most probable experts of each token",
          "Fedus, Zoph, Shazeer: Switch Transformers (JMLR 2022, arXiv 2101.03961); Lepikhin et al.: GShard (ICLR 2021, arXiv "
          "2006.16668); Jiang et al.: Mixtral of Experts (2024, arXiv 2401.04088)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<TopKRouter>(b, s); }};
}

}  // namespace pleiad::routing
