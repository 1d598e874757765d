#include "pleiad/experts/value_bank.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/experts/neuron_bank.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::experts {

ValueBank::ValueBank(ParamSet& params, const std::string& prefix, i64 width, const ExpertMap& map, i64 owner)
    : width_(width),
      values_(params.add(row_per_expert(prefix + "values", width, map, owner))) {}

void ValueBank::forward(const ParamSet& params, ConstMatrixView, std::span<const i64> offset, BankTrace&, MatrixView out) const {
  const ConstMatrixView values = params.value(values_);
  for (i64 e = 0; e < values.rows; ++e) {
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) std::copy_n(values.row(e), width_, out.row(r));
  }
}

void ValueBank::backward(ParamSet& params, ConstMatrixView, std::span<const i64> offset, const BankTrace&, std::span<const real> weight,
                         MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const {
  const ConstMatrixView values = params.value(values_);
  SparseRows& d_values = params.row_grads(values_);
  for (i64 e = 0; e < values.rows; ++e) {
    if (offset[e] == offset[e + 1]) continue;
    real* d_row = d_values.touch(e);
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) {
      d_weight[r] = ops::vec::dot(values.row(e), d_out.row(r), width_);
      ops::vec::axpy(weight[r], d_out.row(r), d_row, width_);
      std::fill_n(d_rows.row(r), width_, real{0});
    }
  }
}

}  // namespace pleiad::experts
