#include "pleiad/routing/hash.hpp"

#include <limits>

#include "pleiad/routing/select.hpp"
#include "pleiad/routing/topk.hpp"

namespace pleiad::routing {

HashRouter::HashRouter(const RouterBuild& build, Spec& spec)
    : k_(read_k(build, spec)),
      experts_(build.experts()),
      hash_seed_(static_cast<std::uint64_t>(spec.integer("hash_seed", 1, 0, std::numeric_limits<i64>::max(), "seed of the map from token to experts"))) {}

std::unique_ptr<RouterTrace> HashRouter::forward(const ParamSet&, ConstMatrixView x, const RoutingContext& context) const {
  PLEIAD_CHECK(static_cast<i64>(context.token_ids.size()) == x.rows, "hash routing needs the numbers of {} tokens, has {}", x.rows, context.token_ids.size());
  auto trace = std::make_unique<RouterTrace>();
  const Stream stream(hash_seed_, Purpose::hash_expert, static_cast<std::uint32_t>(context.layer));
  trace->assignment = draw_experts(x.rows, experts_, k_, stream, [&](i64 t) { return static_cast<std::uint64_t>(context.token_ids[t]); }, context.real_tokens);
  trace->logits.resize(x.rows, experts_);
  return trace;
}

RouterVariant hash_variant() {
  return {"hash", "experts fixed by the token's number in the vocabulary", "Roller et al.: Hash Layers For Large Sparse Models (NeurIPS 2021, arXiv 2106.04426)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<HashRouter>(b, s); }};
}

}  // namespace pleiad::routing
