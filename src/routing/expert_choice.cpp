#include "pleiad/routing/expert_choice.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::routing {

namespace {

/// A token that offers itself to an expert. Travels as bytes between ranks of one program.
struct Offer {
  double p = 0;
  i64 token = 0;  // global
  std::int32_t expert = 0;
  std::int32_t group = 0;
};

}  // namespace

ExpertChoiceRouter::ExpertChoiceRouter(const RouterBuild& build, Spec& spec)
    : SoftmaxRouter(build, spec, WeightRule::raw, 1),
      choices_(spec.number("choices", 2, 0, 1e9, "mean experts per token: an expert takes choices * T / N tokens")),
      by_position_(spec.choice("choice_group", "batch", {"batch", "position"}, "tokens among which an expert chooses") == "position") {}

Assignment ExpertChoiceRouter::select(ConstMatrixView p, const RoutingContext& context, RouterTrace&) const {
  // Expert e is served by rank e mod P, which sees all offers to it.
  const i64 ranks = context.world.size(), experts = p.cols, length = context.lanes.seq_len();
  std::vector<std::vector<Offer>> offers(static_cast<std::size_t>(ranks));
  std::vector<std::vector<i64>> token_of(static_cast<std::size_t>(ranks));
  for (i64 t = 0; t < p.rows; ++t) {
    if (!context.is_real(t)) continue;
    const i64 global = context.lanes.first_token() + t;
    for (i64 e = 0; e < experts; ++e) {
      offers[e % ranks].push_back({static_cast<double>(p(t, e)), global, static_cast<std::int32_t>(e),
                                   by_position_ ? static_cast<std::int32_t>(global % length) : 0});
      token_of[e % ranks].push_back(t);
    }
  }
  std::vector<i64> send_counts;
  std::vector<Offer> send;
  for (const auto& list : offers) {
    send_counts.push_back(static_cast<i64>(list.size()));
    send.insert(send.end(), list.begin(), list.end());
  }
  const std::vector<i64> recv_counts = comm::all_to_all_counts(context.world, send_counts);
  i64 received = 0;
  for (const i64 n : recv_counts) received += n;
  std::vector<Offer> cases(static_cast<std::size_t>(received));
  comm::all_to_all_rows<char>(context.world, reinterpret_cast<const char*>(send.data()), send_counts,
                              reinterpret_cast<char*>(cases.data()), recv_counts, sizeof(Offer));

  std::vector<i64> order(cases.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<i64>(i);
  const auto same = [&](const Offer& x, const Offer& y) { return x.expert == y.expert && x.group == y.group; };
  std::ranges::sort(order, [&](i64 left, i64 right) {
    const Offer &x = cases[left], &y = cases[right];
    if (x.expert != y.expert) return x.expert < y.expert;
    if (x.group != y.group) return x.group < y.group;
    return x.p != y.p ? x.p > y.p : x.token < y.token;
  });
  std::vector<std::uint8_t> verdict(cases.size(), 0), answer(send.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && same(cases[order[begin]], cases[order[end]])) ++end;
    const double fair = choices_ * static_cast<double>(end - begin) / static_cast<double>(experts);
    const std::size_t take = std::min(end - begin, static_cast<std::size_t>(std::max(1.0, std::round(fair))));
    for (std::size_t i = begin; i < begin + take; ++i) verdict[order[i]] = 1;
  }
  comm::all_to_all_rows<std::uint8_t>(context.world, verdict.data(), recv_counts, answer.data(), send_counts, 1);

  std::vector<std::vector<std::int32_t>> chosen(static_cast<std::size_t>(p.rows));
  std::size_t at = 0;
  for (std::size_t r = 0; r < offers.size(); ++r) {
    for (std::size_t i = 0; i < offers[r].size(); ++i) {
      if (answer[at++]) chosen[token_of[r][i]].push_back(offers[r][i].expert);
    }
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
