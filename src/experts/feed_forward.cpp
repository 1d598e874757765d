#include "pleiad/experts/feed_forward.hpp"

#include <cmath>

#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::experts {

namespace {

void scale_rows(MatrixView rows, std::span<const real> by) {
  for (i64 r = 0; r < rows.rows && !by.empty(); ++r) {
    for (i64 j = 0; j < rows.cols; ++j) rows(r, j) *= by[r];
  }
}

/// d_weight[r] = <d_act row, act row> (+ <d_y row, bias>): the expert's output is never needed for it.
void weight_gradient(ConstMatrixView d_act, ConstMatrixView act, std::span<real> d_weight) {
  for (i64 r = 0; r < d_act.rows && !d_weight.empty(); ++r) {
    d_weight[r] = ops::vec::dot(d_act.row(r), act.row(r), act.cols);
  }
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
  return from(word, bias);
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

// Trace of R rows: pre-activation (or gate) [R,H], then act [R,H], then, gated only, up [R,H].
void FeedForward::forward(const ParamSet& params, ConstMatrixView x, std::span<real> trace, MatrixView out) const {
  const i64 n = x.rows * hidden_;
  const MatrixView pre(trace.data(), x.rows, hidden_), act(trace.data() + n, x.rows, hidden_);
  ops::linear_forward(x, params.value(w_in_), pre);
  if (kind_.gated) {
    const MatrixView up(trace.data() + 2 * n, x.rows, hidden_);
    ops::linear_forward(x, params.value(w_up_), up);
    ops::swiglu_forward(pre.flat(), up.flat(), act.flat());
  } else {
    if (kind_.bias) ops::add_bias(pre, params.value(b_in_));
    ops::activate(kind_.activation, pre.flat(), act.flat());
  }
  ops::linear_forward(act, params.value(w_out_), out);
  if (kind_.bias) ops::add_bias(out, params.value(b_out_));
}

void FeedForward::backward(ParamSet& params, ConstMatrixView x, std::span<const real> trace, std::span<const real> weight,
                           MatrixView d_y, MatrixView d_x, std::span<real> d_weight, i64 lane) const {
  const i64 n = x.rows * hidden_;
  const ConstMatrixView pre(trace.data(), x.rows, hidden_), act(trace.data() + n, x.rows, hidden_);
  Matrix d_act, d_up;
  d_act.resize_uninitialised(x.rows, hidden_);
  // First the gradient of the unweighted output, because d_weight = <d_y, E(x)>; then everything is scaled by the weight.
  ops::linear_backward(act, params.value(w_out_), d_y, d_act, {});
  weight_gradient(d_act, act, d_weight);
  if (kind_.bias) {
    for (i64 r = 0; r < x.rows && !d_weight.empty(); ++r) {
      d_weight[r] += ops::vec::dot(d_y.row(r), params.value(b_out_).row(0), width_);
    }
  }
  scale_rows(d_act, weight);
  scale_rows(d_y, weight);
  ops::linear_backward(act, params.value(w_out_), d_y, {}, params.grad(w_out_, lane));
  if (kind_.gated) {
    const ConstMatrixView up(trace.data() + 2 * n, x.rows, hidden_);
    d_up.resize_uninitialised(x.rows, hidden_);
    ops::swiglu_backward(pre.flat(), up.flat(), d_act.flat(), d_act.flat(), d_up.flat());
    ops::linear_backward(x, params.value(w_in_), d_act, d_x, params.grad(w_in_, lane));
    ops::linear_backward(x, params.value(w_up_), d_up, d_x, params.grad(w_up_, lane), true);
  } else {
    ops::activate_backward(kind_.activation, pre.flat(), d_act.flat(), d_act.flat());
    if (kind_.bias) {
      ops::add_column_sums(d_y, params.grad(b_out_, lane));
      ops::add_column_sums(d_act, params.grad(b_in_, lane));
    }
    ops::linear_backward(x, params.value(w_in_), d_act, d_x, params.grad(w_in_, lane));
  }
}

}  // namespace pleiad::experts
