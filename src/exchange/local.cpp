#include "pleiad/exchange/local.hpp"

#include <algorithm>

namespace pleiad::exchange {

namespace {

class LocalTrip : public RoundTrip {
 public:
  LocalTrip(ConstMatrixView from, const ExchangePlan& plan, MatrixView into, std::span<real> d_weight)
      : from_(from), plan_(plan), into_(into), d_weight_(d_weight) {}

  ConstMatrixView arrive() override { return from_; }
  experts::Landing landing() override { return {into_, plan_.at_experts.token, true}; }
  void leave(std::span<const real> d_row_weight) override {
    std::ranges::fill(d_weight_, real{0});
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) d_weight_[static_cast<std::size_t>(plan_.home[r].entry)] = d_row_weight[r];
  }
  void finish() override {}

 private:
  ConstMatrixView from_;
  const ExchangePlan& plan_;
  MatrixView into_;
  std::span<real> d_weight_;
};

}  // namespace

void clear_rows(MatrixView rows) {
  for (i64 i = 0; i < rows.rows; ++i) std::fill_n(rows.row(i), rows.cols, real{0});
}

ExchangePlan LocalExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout&, i64) const {
  ExchangePlan plan;
  PLEIAD_CHECK(map.owners() == 1, "{} owners on one rank", map.owners());
  Arrivals arrivals(static_cast<std::size_t>(std::ranges::count_if(a.kept, [](auto kept) { return kept != 0; })));
  std::vector<std::int32_t> entry;
  plan.return_slot.assign(a.expert.size(), -1);
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      if (!a.kept[i]) continue;
      plan.return_slot[i] = static_cast<i64>(entry.size());
      arrivals.set(entry.size(), static_cast<std::int32_t>(t), static_cast<std::int32_t>(map.local_index(a.expert[i])), a.weight[i]);
      entry.push_back(static_cast<std::int32_t>(i));
    }
  }
  order_by_expert(plan, arrivals, a.experts);
  plan.send_rows = plan.recv_rows = {a.tokens()};
  plan.send_entries = plan.recv_entries = {static_cast<i64>(entry.size())};
  for (std::size_t r = 0; r < entry.size(); ++r) {
    plan.home.push_back({plan.at_experts.token[r], entry[static_cast<std::size_t>(plan.row_entry[r])], plan.row_entry[r]});
  }
  return plan;
}

std::unique_ptr<RoundTrip> LocalExchanger::start_forward(ConstMatrixView x, const routing::Assignment&, const ExchangePlan& plan, Kept& kept,
                                                         MatrixView y) const {
  clear_rows(y);
  kept.tokens = x;
  return std::make_unique<LocalTrip>(x, plan, y, std::span<real>());
}

std::unique_ptr<RoundTrip> LocalExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment&, const ExchangePlan& plan, MatrixView d_x,
                                                          std::span<real> d_weight) const {
  return std::make_unique<LocalTrip>(d_y, plan, d_x, d_weight);
}

}  // namespace pleiad::exchange
