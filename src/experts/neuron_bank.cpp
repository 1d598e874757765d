#include "pleiad/experts/neuron_bank.hpp"

#include <cmath>

#include "pleiad/ops/vec.hpp"

namespace pleiad::experts {

ParamInfo row_per_expert(const std::string& name, i64 width, const ExpertMap& map, i64 owner) {
  const std::vector<i64>& mine = map.owned_by(owner);
  const i64 first = mine.empty() ? 0 : mine.front(), count = static_cast<i64>(mine.size());
  PLEIAD_CHECK(mine.empty() || mine.back() == first + count - 1, "experts of {} are not contiguous", name);
  return {.name = name, .shape = {map.experts(), width}, .owner = Owner::expert, .init = Init::uniform(std::sqrt(3 / static_cast<double>(width))),
          .decay = false, .first_row = first, .own_rows = count, .family = name};
}

NeuronBank::NeuronBank(ParamSet& params, const std::string& prefix, ops::Activation activation, i64 width, const ExpertMap& map, i64 owner)
    : activation_(activation), width_(width) {
  u_ = params.add(row_per_expert(prefix + "u", width, map, owner));
  v_ = params.add(row_per_expert(prefix + "v", width, map, owner));
}

// Trace: u . x [R], then its activation [R].
void NeuronBank::forward(const ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, BankTrace& trace, MatrixView out) const {
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  trace.values.reserve_uninitialised(2 * rows.rows);
  const std::span<real> pre = trace.values.span().first(static_cast<std::size_t>(rows.rows)), act = trace.values.span().last(pre.size());
  for (i64 e = 0; e < u.rows; ++e) {
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) pre[r] = ops::vec::dot(u.row(e), rows.row(r), width_);
  }
  ops::activate(activation_, pre, act);
  for (i64 e = 0; e < v.rows; ++e) {
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) {
      for (i64 j = 0; j < width_; ++j) out(r, j) = act[r] * v(e, j);
    }
  }
}

void NeuronBank::backward(ParamSet& params, ConstMatrixView rows, std::span<const i64> offset, const BankTrace& trace,
                          std::span<const real> weight, MatrixView d_out, MatrixView d_rows, std::span<real> d_weight) const {
  const std::size_t n = static_cast<std::size_t>(rows.rows);
  const std::span<const real> pre = trace.values.span().first(n), act = trace.values.span().last(n);
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  SparseRows &d_u = params.row_grads(u_), &d_v = params.row_grads(v_);
  std::vector<real> d_pre(n);
  for (i64 e = 0; e < u.rows; ++e) {
    if (offset[e] == offset[e + 1]) continue;
    real* d_v_row = d_v.touch(e);
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) {
      const real along = ops::vec::dot(v.row(e), d_out.row(r), width_);
      d_weight[r] = along * act[r];
      d_pre[r] = along * weight[r];
      ops::vec::axpy(weight[r] * act[r], d_out.row(r), d_v_row, width_);
    }
  }
  ops::activate_backward(activation_, pre, d_pre, d_pre);
  for (i64 e = 0; e < u.rows; ++e) {
    if (offset[e] == offset[e + 1]) continue;
    real* d_u_row = d_u.touch(e);
    for (i64 r = offset[e]; r < offset[e + 1]; ++r) {
      ops::vec::axpy(d_pre[r], rows.row(r), d_u_row, width_);
      for (i64 j = 0; j < width_; ++j) d_rows(r, j) = d_pre[r] * u(e, j);
    }
  }
}

}  // namespace pleiad::experts
