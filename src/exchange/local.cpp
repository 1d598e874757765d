#include "pleiad/exchange/local.hpp"

#include <algorithm>

namespace pleiad::exchange {

ExchangePlan LocalExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout&, i64) const {
  ExchangePlan plan;
  PLEIAD_CHECK(map.owners() == 1, "{} owners on one rank", map.owners());
  std::vector<std::int32_t> expert;
  std::vector<real> weight;
  std::vector<i64> entry;
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      if (!a.kept[at]) continue;
      plan.entry_token.push_back(t);
      expert.push_back(static_cast<std::int32_t>(map.local_index(a.expert[at])));
      weight.push_back(a.weight[at]);
      entry.push_back(i);
    }
  }
  order_by_expert(plan, expert, weight, a.experts);
  plan.send_rows = plan.recv_rows = {a.tokens()};
  plan.send_entries = plan.recv_entries = {static_cast<i64>(entry.size())};
  // Nothing travels: an assignment finds its result in the expert-major row itself.
  plan.return_slot.assign(a.expert.size(), -1);
  for (std::size_t i = 0; i < entry.size(); ++i) plan.return_slot[entry[i]] = plan.entry_row[i];
  return plan;
}

void expand_rows(ConstMatrixView tokens, const ExchangePlan& plan, Matrix& rows) {
  rows.resize_uninitialised(plan.rows(), tokens.cols);
  for (i64 r = 0; r < plan.rows(); ++r) {
    std::copy_n(tokens.row(plan.row_token[r]), tokens.cols, rows.row(r));
  }
}

void sum_at_home(ConstMatrixView returned, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y) {
  for (i64 t = 0; t < y.rows; ++t) {
    real* out = y.row(t);
    std::fill_n(out, y.cols, real{0});
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const i64 slot = plan.return_slot[i];
      if (slot < 0) continue;
      const real w = a.weight[i];
      const real* in = returned.row(slot);
      for (i64 j = 0; j < y.cols; ++j) out[j] += w * in[j];
    }
  }
}

void add_at_home(ConstMatrixView returned, const routing::Assignment& a, const ExchangePlan& plan, MatrixView d_x) {
  for (i64 t = 0; t < d_x.rows; ++t) {
    real* out = d_x.row(t);
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const i64 slot = plan.return_slot[i];
      if (slot < 0) continue;
      const real* in = returned.row(slot);
      for (i64 j = 0; j < d_x.cols; ++j) out[j] += in[j];
    }
  }
}

void LocalExchanger::dispatch(ConstMatrixView x, const ExchangePlan& plan, Matrix& rows) const { expand_rows(x, plan, rows); }

void LocalExchanger::combine(ConstMatrixView out, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y) const {
  sum_at_home(out, a, plan, y);
}

void LocalExchanger::dispatch_adjoint(ConstMatrixView d_rows, std::span<const real> d_row_weight, const routing::Assignment& a,
                                      const ExchangePlan& plan, MatrixView d_x, std::span<real> d_weight) const {
  add_at_home(d_rows, a, plan, d_x);
  for (std::size_t i = 0; i < d_weight.size(); ++i) {
    d_weight[i] = plan.return_slot[i] < 0 ? 0 : d_row_weight[plan.return_slot[i]];
  }
}

}  // namespace pleiad::exchange
