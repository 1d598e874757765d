#include "pleiad/routing/capacity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/routing/claim.hpp"

namespace pleiad::routing {

Capacity::Capacity(Spec& spec, i64 choices, i64 split)
    : factor_(spec.number("capacity_factor", 0, 0, 1e9, "tokens an expert takes, as a multiple of its fair share; 0: dropless")),
      minimum_(spec.integer("min_capacity", 0, 0, std::numeric_limits<i64>::max(), "least capacity of an expert, in tokens")),
      choices_(choices),
      split_(split),
      by_probability_(spec.choice("capacity_order", "position", {"position", "probability"},
                                  "who comes first among choices of one rank") == "probability"),
      in_evaluation_(spec.choice("eval_capacity", "dropless", {"dropless", "train"}, "capacity in evaluation") == "train") {}

i64 Capacity::limit(i64 tokens, i64 experts, bool training) const {
  if (factor_ <= 0 || (!training && !in_evaluation_)) return 0;
  // The base model's own number, so that a split leaves the bits of C as they are.
  const double fair = static_cast<double>(choices_) * factor_ * static_cast<double>(tokens) / static_cast<double>(experts / split_);
  // A product like 1.1 * 10 must not be pushed over the next integer by rounding.
  const double up = std::ceil(fair * (1 - 1e-12));
  return std::max<i64>({minimum_, 1, static_cast<i64>(up)});
}

i64 Capacity::apply(Assignment& a, ConstMatrixView p, const RoutingContext& context) const {
  const i64 limit_c = limit(context.lanes.tokens(), a.experts, context.training);
  if (limit_c == 0) return 0;
  std::vector<i64> wanted = count_per_expert(a, false);
  comm::all_reduce_sum<i64>(context.world, wanted);
  // Only over-full experts need a judge.
  std::vector<Claim> claims;
  std::vector<i64> entry_of;
  for (i64 t = 0; t < a.tokens(); ++t) {
    const i64 begin = a.offset[t];
    for (i64 i = begin; i < a.offset[t + 1]; ++i) {
      const std::int32_t e = a.expert[i];
      if (wanted[e] <= limit_c) continue;
      claims.push_back({context.lanes.first_token() + t, static_cast<double>(p(t, e)), e, static_cast<std::int32_t>(i - begin)});
      entry_of.push_back(i);
    }
  }
  const std::vector<std::uint8_t> kept = judge_claims(context.world, claims, [&](const std::vector<Claim>& cases) {
    // The claims of each expert together, then its limit_c first ones before the others.
    std::vector<i64> end(static_cast<std::size_t>(a.experts) + 1, 0);
    for (const Claim& c : cases) ++end[c.expert + 1];
    std::partial_sum(end.begin(), end.end(), end.begin());
    std::vector<i64> order(cases.size());
    for (std::size_t i = 0; i < cases.size(); ++i) order[end[cases[i].expert]++] = static_cast<i64>(i);
    std::vector<std::uint8_t> verdict(cases.size(), 0);
    for (i64 e = 0, begin = 0; e < a.experts; begin = end[e++]) {
      const i64 take = std::min(end[e] - begin, limit_c);
      const auto of_expert = std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end[e] - begin));
      std::ranges::nth_element(of_expert, of_expert.begin() + take, [&](i64 left, i64 right) {
        const Claim &x = cases[left], &y = cases[right];
        if (x.group != y.group) return x.group < y.group;
        if (by_probability_ && x.p != y.p) return x.p > y.p;
        return x.token < y.token;
      });
      for (i64 i = 0; i < take; ++i) verdict[of_expert[i]] = 1;
    }
    return verdict;
  });
  for (std::size_t i = 0; i < entry_of.size(); ++i) a.kept[entry_of[i]] = kept[i];
  return limit_c;
}

}  // namespace pleiad::routing
