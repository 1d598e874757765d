#include "pleiad/exchange/plan.hpp"

#include <algorithm>

#include "pleiad/core/stable_order.hpp"

namespace pleiad::exchange {

// A token sums its experts in ascending order, whoever owns them; tokens do not meet, so their order is free.
void order_at_home(ExchangePlan& plan, const routing::Assignment& a) {
  const auto earlier = [&](const HomeEntry& l, const HomeEntry& r) {
    const std::int32_t left = a.expert[static_cast<std::size_t>(l.entry)], right = a.expert[static_cast<std::size_t>(r.entry)];
    return left != right ? left < right : l.entry < r.entry;
  };
  plan.home.clear();
  plan.home.reserve(a.expert.size());
  for (i64 t = 0; t < a.tokens(); ++t) {
    const std::size_t first = plan.home.size();
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const i64 slot = plan.return_slot[static_cast<std::size_t>(i)];
      if (slot >= 0) plan.home.push_back({static_cast<std::int32_t>(t), static_cast<std::int32_t>(i), static_cast<std::int32_t>(slot)});
    }
    std::sort(plan.home.begin() + static_cast<std::ptrdiff_t>(first), plan.home.end(), earlier);
  }
}

void order_by_expert(ExchangePlan& plan, const Arrivals& arrivals, i64 local_experts) {
  const std::size_t n = arrivals.expert.size();
  PLEIAD_CHECK(arrivals.token.size() == n && arrivals.weight.size() == n, "{} assignments, {} tokens", n, arrivals.token.size());
  stable_order(arrivals.expert, local_experts, plan.row_entry);
  experts::ExpertRows& rows = plan.at_experts;
  rows.token.resize(n);
  rows.weight.resize(n);
  rows.runs.clear();
  for (std::size_t r = 0; r < n; ++r) {
    const std::size_t from = static_cast<std::size_t>(plan.row_entry[r]);
    rows.token[r] = arrivals.token[from];
    rows.weight[r] = arrivals.weight[from];
    const i64 expert = arrivals.expert[from], row = static_cast<i64>(r);
    if (rows.runs.empty() || rows.runs.back().expert != expert) rows.runs.push_back({expert, row, row});
    ++rows.runs.back().end;
  }
}

}  // namespace pleiad::exchange
