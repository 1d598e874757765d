#include "pleiad/routing/expert_choice.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/routing/claim.hpp"

namespace pleiad::routing {

ExpertChoiceRouter::ExpertChoiceRouter(const RouterBuild& build, Spec& spec)
    : SoftmaxRouter(build, spec, WeightRule::raw, 1),
      choices_(spec.number("choices", 2, 0, 1e9, "mean experts per token: an expert takes choices * T / N tokens")),
      by_position_(spec.choice("choice_group", "batch", {"batch", "position"}, "tokens among which an expert chooses") == "position") {}

Assignment ExpertChoiceRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  const i64 experts = p.cols, length = context.lanes.seq_len();
  std::vector<Claim> offers;
  for (i64 t = 0; t < p.rows; ++t) {
    if (!context.is_real(t)) continue;
    const i64 global = context.lanes.first_token() + t;
    const std::int32_t group = by_position_ ? static_cast<std::int32_t>(global % length) : 0;
    for (i64 e = 0; e < experts; ++e) offers.push_back({global, static_cast<double>(p(t, e)), static_cast<std::int32_t>(e), group});
  }
  const std::vector<std::uint8_t> taken = judge_claims(context.world, offers, [&](const std::vector<Claim>& cases) {
    // Offers side by side that compete with each other; of these the best ones, in no order: sorting them takes ten times as long.
    const auto rivals_of = [&](const Claim& c) { return static_cast<std::size_t>(c.group) * static_cast<std::size_t>(experts) + static_cast<std::size_t>(c.expert); };
    std::vector<i64> end(static_cast<std::size_t>((by_position_ ? length : 1) * experts), 0), order(cases.size());
    for (const Claim& c : cases) ++end[rivals_of(c)];
    std::exclusive_scan(end.begin(), end.end(), end.begin(), i64{0});
    for (std::size_t i = 0; i < cases.size(); ++i) order[end[rivals_of(cases[i])]++] = static_cast<i64>(i);
    std::vector<std::uint8_t> verdict(cases.size(), 0);
    const auto better = [&](i64 x, i64 y) { return cases[x].p != cases[y].p ? cases[x].p > cases[y].p : cases[x].token < cases[y].token; };
    i64 begin = 0;
    for (const i64 until : end) {
      const double fair = choices_ * static_cast<double>(until - begin) / static_cast<double>(experts);
      const i64 take = std::min(until - begin, static_cast<i64>(std::max(1.0, std::round(fair))));
      std::nth_element(order.begin() + begin, order.begin() + begin + take, order.begin() + until, better);
      for (i64 i = begin; i < begin + take; ++i) verdict[order[i]] = 1;
      begin = until;
    }
    return verdict;
  });

  std::vector<std::vector<std::int32_t>> chosen(static_cast<std::size_t>(p.rows));
  for (std::size_t i = 0; i < offers.size(); ++i) {
    if (taken[i]) chosen[offers[i].token - context.lanes.first_token()].push_back(offers[i].expert);
  }
  Assignment a;
  a.experts = experts;
  for (i64 t = 0; t < p.rows; ++t) {
    std::ranges::sort(chosen[t], [&](std::int32_t x, std::int32_t y) { return p(t, x) != p(t, y) ? p(t, x) > p(t, y) : x < y; });
    a.expert.insert(a.expert.end(), chosen[t].begin(), chosen[t].end());
    a.offset.push_back(static_cast<i64>(a.expert.size()));
  }
  a.weight.assign(a.expert.size(), 0);
  a.kept.assign(a.expert.size(), 1);
  return a;
}

RouterVariant expert_choice_variant() {
  return {"expert_choice", "every expert takes the tokens it scores best",
          "Zhou et al.: Mixture-of-Experts with Expert Choice Routing (NeurIPS 2022, arXiv 2202.09368)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<ExpertChoiceRouter>(b, s); }};
}

}  // namespace pleiad::routing
