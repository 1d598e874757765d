#include "pleiad/experts/neuron_bank.hpp"

#include <cmath>

#include "pleiad/experts/row_experts.hpp"
#include "pleiad/ops/rows.hpp"

namespace pleiad::experts {

ParamInfo row_per_expert(const std::string& name, i64 width, const ExpertMap& map, i64 owner) {
  const std::vector<i64>& mine = map.owned_by(owner);
  const i64 first = mine.empty() ? 0 : mine.front(), count = static_cast<i64>(mine.size());
  PLEIAD_CHECK(mine.empty() || mine.back() == first + count - 1, "experts of {} are not contiguous", name);
  return {.name = name, .shape = {map.experts(), width}, .owner = Owner::expert, .init = Init::uniform(std::sqrt(3 / static_cast<double>(width))),
          .decay = false, .first_row = first, .own_rows = count, .family = name};
}

namespace {

/// Lands factor times `direction`, in a sum times weight as well. Rounded alike wherever the sum is made.
inline void put(const real* direction, real factor, real weight, i64 place, const Landing& landing) {
  real* to = landing.into.row(place);
  if (landing.add) {
    ops::rows::axpy(weight, factor, direction, to, landing.into.cols);
  } else {
    ops::rows::scaled(factor, direction, to, landing.into.cols);
  }
}

}  // namespace

NeuronBank::NeuronBank(ParamSet& params, const std::string& prefix, ops::Activation activation, i64 width, const ExpertMap& map, i64 owner)
    : activation_(activation), width_(width) {
  u_ = params.add(row_per_expert(prefix + "u", width, map, owner));
  v_ = params.add(row_per_expert(prefix + "v", width, map, owner));
}

// Trace, in the order of ByToken: u . x [R], then its activation [R].
void NeuronBank::forward(const ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, BankTrace& trace, const Landing& out) const {
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  trace.values.reserve_uninitialised(2 * rows.rows());
  const std::span<real> pre = trace.values.span().first(rows.token.size()), act = trace.values.span().last(pre.size());
  const ByToken entries(rows, tokens.rows, out);
  for_each_token(entries.tokens(), out.pace, [&](i64 t) {
    const i64 begin = entries.begin(t), end = entries.end(t);
    const std::size_t first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(end - begin);
    for (i64 i = begin; i < end; ++i) {
      entries.fetch_in_first(t, i, u, v);
      pre[i] = ops::rows::dot(u.row(entries[i].expert), tokens.row(t), width_);
    }
    ops::activate(activation_, pre.subspan(first, count), act.subspan(first, count));
    for (i64 i = begin; i < end; ++i) {
      entries.fetch_in_second(t, i, u, v);
      put(v.row(entries[i].expert), act[i], entries[i].weight, entries[i].place, out);
    }
  });
}

void NeuronBank::backward(ParamSet& params, ConstMatrixView tokens, const ExpertRows& rows, const BankTrace& trace, ConstMatrixView d_out,
                          const Landing& d_x, std::span<real> d_weight) const {
  const std::span<const real> pre = trace.values.span().first(rows.token.size()), act = trace.values.span().last(pre.size());
  const ConstMatrixView u = params.value(u_), v = params.value(v_);
  const ByToken entries(rows, tokens.rows, d_x);
  std::vector<real> of_v(pre.size()), of_u(pre.size()), d_pre;  // by row: what the gradients of v and of u take of d_out and of the token
  for_each_token(entries.tokens(), d_x.pace, [&](i64 t) {
    const i64 begin = entries.begin(t), end = entries.end(t);
    d_pre.resize(static_cast<std::size_t>(end - begin));
    for (i64 i = begin; i < end; ++i) {
      entries.fetch_in_first(t, i, v, u);
      const ByToken::Entry& e = entries[i];
      const real along = ops::rows::dot(v.row(e.expert), d_out.row(t), width_);
      d_weight[e.row] = along * act[i];
      of_v[e.row] = e.weight * act[i];
      d_pre[i - begin] = along * e.weight;
    }
    ops::activate_backward(activation_, pre.subspan(static_cast<std::size_t>(begin), d_pre.size()), d_pre, d_pre);
    for (i64 i = begin; i < end; ++i) {
      entries.fetch_in_second(t, i, v, u);
      const ByToken::Entry& e = entries[i];
      of_u[e.row] = d_pre[i - begin];
      put(u.row(e.expert), of_u[e.row], 1, e.place, d_x);
    }
  });
  add_gradients(rows, of_v, d_out, params.row_grads(v_));
  add_gradients(rows, of_u, tokens, params.row_grads(u_));
}

}  // namespace pleiad::experts
