#include "pleiad/experts/value_bank.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/experts/neuron_bank.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::experts {

ValueBank::ValueBank(ParamSet& params, const std::string& prefix, i64 width, const ExpertMap& map, i64 owner)
    : width_(width),
      values_(params.add(row_per_expert(prefix + "values", width, map, owner))) {}

void ValueBank::forward(const ParamSet& params, ConstMatrixView, const ExpertRows& rows, BankTrace&, const Landing& out) const {
  const ConstMatrixView values = params.value(values_);
  for (const ExpertRun& run : rows.runs) {
    for (i64 r = run.begin; r < run.end; ++r) {
      real* to = out.into.row(out.place[r]);
      if (out.add) {
        ops::vec::axpy(rows.weight[r], values.row(run.expert), to, width_);
      } else {
        std::copy_n(values.row(run.expert), width_, to);
      }
    }
  }
}

void ValueBank::backward(ParamSet& params, ConstMatrixView, const ExpertRows& rows, const BankTrace&, ConstMatrixView d_out, const Landing& d_x,
                         std::span<real> d_weight) const {
  const ConstMatrixView values = params.value(values_);
  SparseRows& d_values = params.row_grads(values_);
  for (const ExpertRun& run : rows.runs) {
    real* d_row = d_values.touch(run.expert);
    for (i64 r = run.begin; r < run.end; ++r) {
      const real* d_y = d_out.row(rows.token[r]);
      d_weight[r] = ops::vec::dot(values.row(run.expert), d_y, width_);
      ops::vec::axpy(rows.weight[r], d_y, d_row, width_);
      if (!d_x.add) std::fill_n(d_x.into.row(d_x.place[r]), width_, real{0});  // a constant does not depend on the token
    }
  }
}

}  // namespace pleiad::experts
