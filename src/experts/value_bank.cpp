#include "pleiad/experts/value_bank.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/experts/neuron_bank.hpp"
#include "pleiad/experts/row_experts.hpp"

namespace pleiad::experts {

ValueBank::ValueBank(ParamSet& params, const std::string& prefix, i64 width, const ExpertMap& map, i64 owner)
    : width_(width),
      values_(params.add(row_per_expert(prefix + "values", width, map, owner))) {}

void ValueBank::forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace&, const Landing& out) const {
  const ConstMatrixView values = params.value(values_);
  const ByToken entries(rows, tokens.rows, out);
  for_each_token(entries.tokens(), out.pace, [&](i64 t) {
    for (i64 i = entries.begin(t); i < entries.end(t); ++i) {
      entries.fetch_in_second(t, i, values, values);
      real* to = out.into.row(entries[i].place);
      if (out.add) {
        ops::rows::axpy(entries[i].weight, values.row(entries[i].expert), to, width_);
      } else {
        ops::wide::copy(values.row(entries[i].expert), width_, to);
      }
    }
  });
}

void ValueBank::backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace&, ConstMatrixView d_out, const Landing& d_x,
                         std::span<real> d_weight) const {
  const ConstMatrixView values = params.value(values_);
  const ByToken entries(rows, tokens.rows, d_x);
  for_each_token(entries.tokens(), d_x.pace, [&](i64 t) {
    for (i64 i = entries.begin(t); i < entries.end(t); ++i) {
      entries.fetch_in_second(t, i, values, values);
      d_weight[entries[i].row] = ops::rows::dot(values.row(entries[i].expert), d_out.row(t), width_);
      if (!d_x.add) std::fill_n(d_x.into.row(entries[i].place), width_, real{0});  // a constant does not depend on the token
    }
  });
  add_gradients(rows, rows.weight, d_out, params.row_grads(values_));
}

}  // namespace pleiad::experts
