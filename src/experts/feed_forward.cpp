#include "pleiad/experts/feed_forward.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/ops/gemm.hpp"
#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/rows.hpp"
#include "pleiad/ops/tile.hpp"
#include "pleiad/ops/vec.hpp"
#include "pleiad/ops/weighted_activation.hpp"

namespace pleiad::experts {

namespace {

using ops::Trans;

// Wider experts spend little of their time on copies, and on some processors oneDNN multiplies faster then (docs/performance.md).
constexpr i64 k_most_narrow = 64;

/// Weights as the factor of a product: where they lie, or rounded into `room`.
template <class N>
View<const N> factor(ConstMatrixView m, Buffer<bf16>& room) {
  if constexpr (std::is_same_v<N, real>) {
    return m;
  } else {
    room.reserve_uninitialised(m.size());
    for (i64 r = 0; r < m.rows; ++r) to_factors(m.row(r), room.data() + r * m.cols, m.cols);
    return {room.data(), m.rows, m.cols};
  }
}

void multiply(const FeedForwardKind& kind, Trans ta, Trans tb, ConstMatrixView a, ConstMatrixView b, bool add, MatrixView c) {
  ops::gemm(kind.any_rows ? ops::k_any_rows : ops::chosen_library(), ta, tb, 1, a, b, add ? 1 : 0, c);
}
void multiply(const FeedForwardKind&, Trans ta, Trans tb, View<const bf16> a, View<const bf16> b, bool add, MatrixView c) { ops::gemm_bf16(ta, tb, a, b, add, c); }

template <class N>
View<N> room_for(Buffer<N>& room, i64 rows, i64 cols) {
  room.reserve_uninitialised(rows * cols);
  return {room.data(), rows, cols};
}

/// In the one of two that is of these numbers.
template <class N>
View<N> room_for(Buffer<real>& room, Buffer<bf16>& room_16, i64 rows, i64 cols) {
  if constexpr (std::is_same_v<N, real>) {
    return room_for(room, rows, cols);
  } else {
    return room_for(room_16, rows, cols);
  }
}

/// Factors as numbers to calculate with, where they lie or in `room`.
ConstMatrixView numbers(ConstMatrixView m, Buffer<real>&) { return m; }
ConstMatrixView numbers(View<const bf16> m, Buffer<real>& room) {
  const MatrixView wide = room_for(room, m.rows, m.cols);
  for (i64 r = 0; r < m.rows; ++r) std::transform(m.row(r), m.row(r) + m.cols, wide.row(r), to_float);
  return wide;
}

template <class N>
void zero_from(View<N> m, i64 row) {
  for (i64 r = row; r < m.rows; ++r) std::fill_n(m.row(r), m.cols, N{});
}

}  // namespace

FeedForwardKind FeedForwardKind::from(const std::string& word, bool bias) {
  FeedForwardKind kind;
  kind.gated = word == "swiglu";
  kind.activation = kind.gated ? ops::Activation::silu : ops::activation_from(word);
  kind.bias = bias;
  return kind;
}

FeedForwardKind FeedForwardKind::read(Spec& spec) {
  const std::string word = spec.choice("activation", "gelu", {"relu", "gelu", "swiglu"}, "what kind of feed-forward expert");
  const bool bias = spec.flag("expert_bias", false, "biases in both layers of an expert (not with swiglu)");
  if (bias && word == "swiglu") user_error("{}.expert_bias = true: a swiglu expert has no bias, only relu and gelu experts may", spec.section());
  FeedForwardKind kind = from(word, bias);
  kind.rounded = spec.choice("products", "f32", {"f32", "bf16"}, "numbers that experts multiply; bf16: with sums, weights and gradients in f32") == "bf16";
  if (const std::string missing = ops::bf16_missing(); kind.rounded && !missing.empty()) {
    user_error("{}.products = bf16: {}; allowed here: f32", spec.section(), missing);
  }
  return kind;
}

FeedForward::FeedForward(ParamSet& params, const std::string& prefix, i64 number, i64 slot, FeedForwardKind kind, i64 width,
                         i64 hidden, i64 layers, double output_gain)
    : kind_(kind), width_(width), hidden_(hidden) {
  const double in_scale = 1 / std::sqrt(static_cast<double>(width));
  const double out_scale = output_gain / std::sqrt(static_cast<double>(hidden) * 2 * static_cast<double>(layers));
  const auto add = [&](const std::string& name, std::vector<i64> shape, Init init) {
    return params.add({.name = prefix + "experts/" + std::to_string(number) + "/" + name,
                       .shape = std::move(shape),
                       .owner = slot >= 0 ? Owner::expert : Owner::replicated,
                       .init = init,
                       .expert = slot >= 0 ? number : -1,
                       .slot = slot,
                       .family = slot >= 0 ? prefix + "experts/" + name : ""});
  };
  if (kind_.gated) {
    w_in_ = add("w_gate", {hidden, width}, Init::normal(in_scale));
    w_up_ = add("w_up", {hidden, width}, Init::normal(in_scale));
    w_out_ = add("w_down", {width, hidden}, Init::normal(out_scale));
  } else {
    w_in_ = add("w_in", {hidden, width}, Init::normal(in_scale));
    if (kind_.bias) b_in_ = add("b_in", {hidden}, Init::zeros());
    w_out_ = add("w_out", {width, hidden}, Init::normal(out_scale));
    if (kind_.bias) b_out_ = add("b_out", {width}, Init::zeros());
  }
}

template <class N>
FeedForwardWeights<N> FeedForward::weights(const ParamSet& params, FeedForwardRoom& room) const {
  FeedForwardWeights<N> w;
  w.in = factor<N>(params.value(w_in_), room.w_in);
  if (kind_.gated) w.up = factor<N>(params.value(w_up_), room.w_up);
  w.out = factor<N>(params.value(w_out_), room.w_out);
  return w;
}

// Trace of R rows: pre-activation (or gate) [R,H], then, gated only, up [R,H].
template <class N>
void FeedForward::forward(const ParamSet& params, const FeedForwardWeights<N>& w, View<const N> x, std::span<real> trace, FeedForwardRoom& room,
                          MatrixView out) const {
  const MatrixView pre(trace.data(), x.rows, hidden_);
  const View<N> h = room_for<N>(room.h, room.h_16, x.rows, hidden_);
  multiply(kind_, Trans::no, Trans::yes, x, w.in, false, pre);
  if (kind_.gated) {
    const MatrixView up(trace.data() + pre.size(), x.rows, hidden_);
    multiply(kind_, Trans::no, Trans::yes, x, w.up, false, up);
    ops::swiglu_forward(pre.flat(), up.flat(), h.flat());
  } else {
    if (kind_.bias) ops::add_bias(pre, params.value(b_in_));
    ops::activate(kind_.activation, pre.flat(), h.flat());
  }
  multiply(kind_, Trans::no, Trans::yes, View<const N>(h), w.out, false, out);
  if (kind_.bias) ops::add_bias(out, params.value(b_out_));
}

template <class N>
void FeedForward::backward(ParamSet& params, const FeedForwardWeights<N>& w, View<const N> x, std::span<const real> trace,
                           std::span<const real> weight, View<const N> d_y, FeedForwardRoom& room, MatrixView d_x, std::span<real> d_weight,
                           i64 lane) const {
  const ConstMatrixView pre(trace.data(), x.rows, hidden_);
  const MatrixView d_h = room_for(room.d_h, x.rows, hidden_);
  const View<N> h = room_for<N>(room.h, room.h_16, x.rows, hidden_), d_pre = room_for<N>(room.d_h, room.d_h_16, x.rows, hidden_);
  const i64 rows = weight.empty() ? x.rows : static_cast<i64>(weight.size());  // those that are no filling
  // First the gradient before weighting, because d_weight = <d_y, E(x)> = <d_h, h> (+ <d_y, b_out>).
  multiply(kind_, Trans::no, Trans::no, d_y, w.out, false, d_h);
  if (kind_.gated) {
    const ConstMatrixView up(trace.data() + pre.size(), x.rows, hidden_);
    const View<N> d_up = room_for<N>(room.d_up, room.d_up_16, x.rows, hidden_);
    ops::weighted_swiglu_backward<N>(pre.row_range(0, rows), up.row_range(0, rows), weight, d_h.row_range(0, rows), d_pre.row_range(0, rows),
                                     d_up.row_range(0, rows), h.row_range(0, rows), d_weight);
    zero_from(d_up, rows);
  } else {
    ops::weighted_activation_backward<N>(kind_.activation, pre.row_range(0, rows), weight, d_h.row_range(0, rows), d_pre.row_range(0, rows),
                                         h.row_range(0, rows), d_weight);
  }
  zero_from(h, rows);
  zero_from(d_pre, rows);
  multiply(kind_, Trans::yes, Trans::no, d_y, View<const N>(h), true, params.grad(w_out_, lane));
  multiply(kind_, Trans::yes, Trans::no, View<const N>(d_pre), x, true, params.grad(w_in_, lane));
  multiply(kind_, Trans::no, Trans::no, View<const N>(d_pre), w.in, false, d_x);
  if (kind_.gated) {
    const View<const N> d_up = room_for<N>(room.d_up, room.d_up_16, x.rows, hidden_);
    multiply(kind_, Trans::yes, Trans::no, d_up, x, true, params.grad(w_up_, lane));
    multiply(kind_, Trans::no, Trans::no, d_up, w.up, true, d_x);
  }
  if (!kind_.bias) return;
  ops::add_column_sums(numbers(d_pre, room.h).row_range(0, rows), params.grad(b_in_, lane));
  const ConstMatrixView b_out = params.value(b_out_), d_out = numbers(d_y, room.h);
  const MatrixView d_b_out = params.grad(b_out_, lane);
  for (i64 r = 0; r < rows; ++r) {
    if (!d_weight.empty()) d_weight[static_cast<std::size_t>(r)] += ops::vec::dot(d_out.row(r), b_out.row(0), width_);
    ops::vec::axpy(weight.empty() ? real{1} : weight[static_cast<std::size_t>(r)], d_out.row(r), d_b_out.row(0), width_);
  }
}

bool FeedForwardKind::narrow(i64 width, i64 hidden) const { return !bias && !rounded && hidden <= k_most_narrow && hidden % ops::k_wide == 0 && width % ops::k_wide == 0; }

namespace {

/// The transpose, whose rows are whole vectors.
ConstMatrixView turned(ConstMatrixView m, real* room) {
  ops::tile::transpose(m, room, m.rows);
  return {room, m.cols, m.rows};
}

}  // namespace

void FeedForward::forward_scattered(const ParamSet& params, ops::RowsAt<const real> x, std::span<real> trace, FeedForwardRoom& room,
                                    ops::RowsAt<real> out, ops::Sums sums, ops::RowsAt<const real> later) const {
  const i64 rows = static_cast<i64>(x.size());
  room.turned.reserve_uninitialised(width_ * hidden_);
  const auto first = [&](ParamId w, real* to) {
    ops::multiply_scattered(Trans::no, x, room.right.all_of(turned(params.value(w), room.turned.data())), hidden_,
                            room.into.all_of(MatrixView(to, rows, hidden_)), {.meanwhile = later});
  };
  const MatrixView pre(trace.data(), rows, hidden_), h = room_for(room.h, rows, hidden_);
  first(w_in_, pre.data);
  if (kind_.gated) {
    const MatrixView up(trace.data() + pre.size(), rows, hidden_);
    first(w_up_, up.data);
    ops::swiglu_forward(pre.flat(), up.flat(), h.flat());
  } else {
    ops::activate(kind_.activation, pre.flat(), h.flat());
  }
  ops::multiply_scattered(Trans::no, room.left.all_of(ConstMatrixView(h)), room.right.all_of(turned(params.value(w_out_), room.turned.data())), width_, out,
                          sums);
}

void FeedForward::backward_scattered(ParamSet& params, ops::RowsAt<const real> x, std::span<const real> trace, std::span<const real> weight,
                                     ops::RowsAt<const real> d_y, FeedForwardRoom& room, ops::RowsAt<real> d_x, bool add,
                                     std::span<real> d_weight, ops::RowsAt<const real> later) const {
  const i64 rows = static_cast<i64>(x.size());
  const ConstMatrixView pre(trace.data(), rows, hidden_);
  // Beside each other, as in d_x gate and up are one sum.
  const MatrixView d_both = room_for(room.d_h, rows, hidden_ * (kind_.gated ? 2 : 1)), d_pre = d_both.col_range(0, hidden_);
  const MatrixView h = room_for(room.h, rows, hidden_);
  ops::multiply_scattered(Trans::no, d_y, room.right.all_of(params.value(w_out_)), hidden_, room.into.all_of(d_pre), {.meanwhile = later});
  if (kind_.gated) {
    const ConstMatrixView up(trace.data() + pre.size(), rows, hidden_);
    ops::weighted_swiglu_backward<real>(pre, up, weight, d_pre, d_pre, d_both.col_range(hidden_, hidden_), h, d_weight);
  } else {
    ops::weighted_activation_backward<real>(kind_.activation, pre, weight, d_pre, d_pre, h, d_weight);
  }
  const auto gradient = [&](ParamId w, ConstMatrixView d, ops::RowsAt<const real> in) {
    ops::multiply_scattered(Trans::yes, room.left.all_of(d), in, width_, room.into.all_of(params.grad(w)), {true});
  };
  ops::multiply_scattered(Trans::yes, d_y, room.right.all_of(ConstMatrixView(h)), hidden_, room.into.all_of(params.grad(w_out_)), {true});
  gradient(w_in_, d_pre, x);
  const ConstMatrixView w_in = params.value(w_in_);
  if (kind_.gated) gradient(w_up_, d_both.col_range(hidden_, hidden_), x);
  const ops::RowsAt<const real> w = kind_.gated ? room.right.all_of(w_in, params.value(w_up_)) : room.right.all_of(w_in);
  ops::multiply_scattered(Trans::no, room.left.all_of(ConstMatrixView(d_both)), w, width_, d_x, {add});
}

namespace {

// All that is asked for must stay in the second-level cache until it is used.
constexpr i64 k_most_prefetched = i64{1} << 15;

}  // namespace

template <class Use>
void FeedForward::for_each_matrix(Use use) const {
  if (kind_.matrices() * width_ * hidden_ > k_most_prefetched) return;
  for (const ParamId id : {w_in_, w_up_, w_out_}) {
    if (id.index >= 0) use(id);
  }
}

void FeedForward::prefetch(const ParamSet& params) const {
  for_each_matrix([&](ParamId id) { ops::rows::fetch(params.value(id).data, width_ * hidden_); });
}

void FeedForward::prefetch_with_gradients(ParamSet& params) const {
  prefetch(params);
  for_each_matrix([&](ParamId id) { ops::rows::fetch<true>(params.grad(id).data, width_ * hidden_); });
}

void FeedForward::add_rows(const ParamSet& params, ops::RowTable<const real>& rows) const {
  for_each_matrix([&](ParamId id) { rows.add(ConstMatrixView(params.value(id).data, hidden_, width_)); });
}

void FeedForward::add_rows_with_gradients(ParamSet& params, ops::RowTable<const real>& rows) const {
  add_rows(params, rows);
  for_each_matrix([&](ParamId id) { rows.add(ConstMatrixView(params.grad(id).data, hidden_, width_)); });
}

#define PLEIAD_FEED_FORWARD(N)                                                                                                                 \
  template FeedForwardWeights<N> FeedForward::weights<N>(const ParamSet&, FeedForwardRoom&) const;                                              \
  template void FeedForward::forward<N>(const ParamSet&, const FeedForwardWeights<N>&, View<const N>, std::span<real>, FeedForwardRoom&,       \
                                        MatrixView) const;                                                                                     \
  template void FeedForward::backward<N>(ParamSet&, const FeedForwardWeights<N>&, View<const N>, std::span<const real>, std::span<const real>, \
                                         View<const N>, FeedForwardRoom&, MatrixView, std::span<real>, i64) const;
PLEIAD_FEED_FORWARD(real)
PLEIAD_FEED_FORWARD(bf16)
#undef PLEIAD_FEED_FORWARD

}  // namespace pleiad::experts
