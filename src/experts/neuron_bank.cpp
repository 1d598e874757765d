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

namespace {

/// Result of row r: factor times `direction`, in a sum times weight as well. Rounded alike wherever the sum is made.
void put(const real* direction, real factor, real weight, i64 r, const Landing& landing) {
  real* to = landing.into.row(landing.place[r]);
  const i64 n = landing.into.cols;
  if (landing.add) {
#pragma omp simd
    for (i64 j = 0; j < n; ++j) to[j] = ops::vec::mul_add(weight, factor * direction[j], to[j]);
  } else {
#pragma omp simd
    for (i64 j = 0; j < n; ++j) to[j] = factor * direction[j];
  }
}

}  // namespace

NeuronBank::NeuronBank(ParamSet& params, const std::string& prefix, ops::Activation activation, i64 width, const ExpertMap& map, i64 owner)
    : activation_(activation), width_(width) {
  u_ = params.add(row_per_expert(prefix + "u", width, map, owner));
  v_ = params.add(row_per_expert(prefix + "v", width, map, owner));
}

// Trace: u . x [R], then its activation [R].
void NeuronBank::forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const {
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  trace.values.reserve_uninitialised(2 * rows.rows());
  const std::span<real> pre = trace.values.span().first(rows.token.size()), act = trace.values.span().last(pre.size());
  for (const ExpertRun& run : rows.runs) {
    for (i64 r = run.begin; r < run.end; ++r) pre[r] = ops::vec::dot(u.row(run.expert), tokens.row(rows.token[r]), width_);
  }
  ops::activate(activation_, pre, act);
  for (const ExpertRun& run : rows.runs) {
    for (i64 r = run.begin; r < run.end; ++r) put(v.row(run.expert), act[r], rows.weight[r], r, out);
  }
}

void NeuronBank::backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out,
                          const Landing& d_x, std::span<real> d_weight) const {
  const std::span<const real> pre = trace.values.span().first(rows.token.size()), act = trace.values.span().last(pre.size());
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  SparseRows &d_u = params.row_grads(u_), &d_v = params.row_grads(v_);
  std::vector<real> d_pre(pre.size());
  for (const ExpertRun& run : rows.runs) {
    real* d_v_row = d_v.touch(run.expert);
    for (i64 r = run.begin; r < run.end; ++r) {
      const real* d_y = d_out.row(rows.token[r]);
      const real along = ops::vec::dot(v.row(run.expert), d_y, width_);
      d_weight[r] = along * act[r];
      d_pre[r] = along * rows.weight[r];
      ops::vec::axpy(rows.weight[r] * act[r], d_y, d_v_row, width_);
    }
  }
  ops::activate_backward(activation_, pre, d_pre, d_pre);
  for (const ExpertRun& run : rows.runs) {
    real* d_u_row = d_u.touch(run.expert);
    for (i64 r = run.begin; r < run.end; ++r) {
      ops::vec::axpy(d_pre[r], tokens.row(rows.token[r]), d_u_row, width_);
      put(u.row(run.expert), d_pre[r], 1, r, d_x);
    }
  }
}

}  // namespace pleiad::experts
