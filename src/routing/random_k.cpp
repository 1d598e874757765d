#include "pleiad/routing/random_k.hpp"

#include <algorithm>
#include <numeric>

namespace pleiad::routing {

RandomKRouter::RandomKRouter(const RouterBuild& build, Spec& spec) : SoftmaxRouter(build, spec, read_weight_rule(spec), 1) {
  std::vector<double> weights = spec.numbers("k_histogram", {1}, 0, 1e12, "weights of K = 1, 2, 3, ... experts per token");
  const std::string given = fmt::format("moe.k_histogram = {}", weights.empty() ? "none" : fmt::format("{}", fmt::join(weights, ",")));
  while (!weights.empty() && weights.back() == 0) weights.pop_back();
  if (weights.empty()) user_error("{}: at least one weight must be above 0", given);
  if (static_cast<i64>(weights.size()) > build.experts()) {
    user_error("{}: gives a weight to K = {}, but a token cannot have more experts than there are; {} is {}", given, weights.size(),
               build.experts_key(), build.experts());
  }
  cumulative_.resize(weights.size());
  std::partial_sum(weights.begin(), weights.end(), cumulative_.begin());
}

double RandomKRouter::selected_per_token() const {
  // The mean of K is the sum over k of P(K > k), k = 0, 1, ...
  double mean = static_cast<double>(cumulative_.size());
  for (const double below : cumulative_) mean -= below / cumulative_.back();
  return mean + 1;
}

i64 RandomKRouter::experts_for(double u) const {
  const auto above = std::ranges::upper_bound(cumulative_, u * cumulative_.back());
  return std::min<i64>(above - cumulative_.begin() + 1, static_cast<i64>(cumulative_.size()));
}

Assignment RandomKRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  // Evaluation is the same whenever it is done.
  const bool training = context.training;
  const Stream draw(training ? context.seed : 0, Purpose::expert_count, static_cast<std::uint32_t>(context.layer),
                    training ? static_cast<std::uint64_t>(context.step) : 0);
  std::vector<i64> count(static_cast<std::size_t>(p.rows), 0);
  for (i64 t = 0; t < p.rows; ++t) {
    if (context.is_real(t)) count[t] = experts_for(draw.uniform(static_cast<std::uint64_t>(context.lanes.first_token() + t)));
  }
  return select_top_counts(p, count);
}

RouterVariant random_k_variant() {
  return {"random_k", "top-k with a number of experts drawn from a histogram, a control", "",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<RandomKRouter>(b, s); }};
}

}  // namespace pleiad::routing
