#include "pleiad/routing/matched_topk.hpp"

#include <cmath>

namespace pleiad::routing {

namespace {

// mean_k is rounded to a multiple of 2^-20: whole numbers, so the counts are exact for every token of any batch.
constexpr std::uint64_t k_one = std::uint64_t{1} << 20;

}  // namespace

MatchedTopKRouter::MatchedTopKRouter(const RouterBuild& build, Spec& spec) : SoftmaxRouter(build, spec, read_weight_rule(spec), 1) {
  const double mean = spec.number("mean_k", 1, 1, static_cast<double>(build.experts()), "mean experts per token, 1 to N");
  mean_k_ = static_cast<std::uint64_t>(std::llround(mean * static_cast<double>(k_one)));
}

double MatchedTopKRouter::selected_per_token() const { return static_cast<double>(mean_k_) / static_cast<double>(k_one); }

i64 MatchedTopKRouter::experts_for(i64 token) const {
  // floor((i + 1) m) - floor(i m) = floor(fraction of i m + m). The product may wrap around: 2^20 divides 2^64.
  const std::uint64_t fraction = static_cast<std::uint64_t>(token) * mean_k_ % k_one;
  return static_cast<i64>((fraction + mean_k_) / k_one);
}

Assignment MatchedTopKRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  std::vector<i64> count(static_cast<std::size_t>(p.rows), 0);
  for (i64 t = 0; t < p.rows; ++t) {
    if (context.is_real(t)) count[t] = experts_for(context.lanes.first_token() + t);
  }
  return select_top_counts(p, count);
}

RouterVariant matched_topk_variant() {
  return {"matched_topk", "top-k with a given mean number of experts, the control at equal FLOPs", "",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<MatchedTopKRouter>(b, s); }};
}

}  // namespace pleiad::routing
