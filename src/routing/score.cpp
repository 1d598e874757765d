#include "pleiad/routing/score.hpp"

#include <cmath>

#include "pleiad/core/random.hpp"
#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/softmax.hpp"
#include "pleiad/ops/sparse_linear.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::routing {

ScoreGate::ScoreGate(const RouterBuild& build, Spec& spec)
    : width_(build.width),
      experts_(build.experts()),
      input_noise_(spec.number("input_noise", 0, 0, 1, "router input is multiplied by U(1-e, 1+e) in training")) {
  // Small initial router weights: Switch Transformer scales the usual 1/sqrt(D) deviation by sqrt(0.1).
  w_ = build.params.add({.name = build.prefix + "router/w",
                         .shape = {experts_, width_},
                         .init = Init::normal(std::sqrt(0.1 / static_cast<double>(width_))),
                         .router = true});
}

void take_memory(Matrix& spent_logits, ScoreTrace& spent, Matrix& logits, ScoreTrace& scores) {
  std::swap(spent_logits, logits);
  std::swap(spent.p, scores.p);
}

void linear_lanes_forward(const ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, MatrixView z) {
  for (i64 lane = 0; lane < lanes.my_lanes().count; ++lane) {
    const Range rows = lanes.local_rows(lane);
    if (rows.count) ops::linear_forward(x.row_range(rows.begin, rows.count), params.value(w), z.row_range(rows.begin, rows.count));
  }
}

namespace {

/// One lane of linear_lanes_backward; d_z holds the rows of the lane.
void linear_lane_backward(ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, i64 lane, const ScoreTrace& trace,
                          ConstMatrixView d_z, MatrixView d_x) {
  const Range rows = lanes.local_rows(lane);
  const ConstMatrixView in = trace.input(x).row_range(rows.begin, rows.count);
  const MatrixView out = d_x.row_range(rows.begin, rows.count);
  if (trace.noise_factor.rows() == 0) return ops::linear_backward(in, params.value(w), d_z, out, params.grad(w, lane), true);
  Matrix d_in;
  d_in.resize_uninitialised(rows.count, x.cols);
  ops::linear_backward(in, params.value(w), d_z, d_in, params.grad(w, lane));
  for (i64 i = 0; i < rows.count; ++i) {
    const real* factor = trace.noise_factor.row(rows.begin + i);
    for (i64 j = 0; j < x.cols; ++j) out(i, j) += d_in(i, j) * factor[j];
  }
}

}  // namespace

void linear_lanes_backward(ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, const ScoreTrace& trace,
                           ConstMatrixView d_z, MatrixView d_x) {
  for (i64 lane = 0; lane < lanes.my_lanes().count; ++lane) {
    const Range rows = lanes.local_rows(lane);
    if (rows.count) linear_lane_backward(params, w, x, lanes, lane, trace, d_z.row_range(rows.begin, rows.count), d_x);
  }
}

void ScoreGate::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context, Matrix& logits,
                        ScoreTrace& trace) const {
  if (context.training && input_noise_ > 0) {
    trace.noisy_x.resize_uninitialised(x.rows, x.cols);
    trace.noise_factor.resize_uninitialised(x.rows, x.cols);
    const Stream draw(context.seed, Purpose::input_noise, static_cast<std::uint32_t>(context.layer), static_cast<std::uint64_t>(context.step));
    for (i64 t = 0; t < x.rows; ++t) {
      const i64 base = (context.lanes.first_token() + t) * x.cols;
      for (i64 j = 0; j < x.cols; ++j) {
        const double u = draw.uniform(static_cast<std::uint64_t>(base + j));
        trace.noise_factor(t, j) = static_cast<real>(1 + input_noise_ * (2 * u - 1));
        trace.noisy_x(t, j) = x(t, j) * trace.noise_factor(t, j);
      }
    }
  }
  logits.resize_uninitialised(x.rows, experts_);
  trace.p.resize_uninitialised(x.rows, experts_);
  trace.log_sum_exp.resize(static_cast<std::size_t>(x.rows));
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    if (rows.count == 0) continue;
    const MatrixView z = logits.view().row_range(rows.begin, rows.count);
    ops::linear_forward(trace.input(x).row_range(rows.begin, rows.count), params.value(w_), z);
    ops::softmax_rows(z, trace.p.view().row_range(rows.begin, rows.count),
                      std::span(trace.log_sum_exp).subspan(static_cast<std::size_t>(rows.begin), static_cast<std::size_t>(rows.count)));
  }
}

void ScoreGate::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const ScoreTrace& trace,
                         MatrixView d_p, MatrixView d_z, MatrixView d_x) const {
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    if (rows.count == 0) continue;
    backward_lane(params, x, context.lanes, lane, trace, d_p.row_range(rows.begin, rows.count), d_z.row_range(rows.begin, rows.count), d_x);
  }
}

void ScoreGate::backward_lane(ParamSet& params, ConstMatrixView x, const LaneLayout& lanes, i64 lane, const ScoreTrace& trace, MatrixView d_p,
                              MatrixView d_z, MatrixView d_x) const {
  if (d_p.rows) {
    const Range rows = lanes.local_rows(lane);
    ops::softmax_backward_rows(trace.p.view().row_range(rows.begin, rows.count), d_p, d_p);
    for (i64 t = 0; t < d_z.rows; ++t) ops::vec::add(d_p.row(t), d_z.row(t), d_z.cols);
  }
  linear_lane_backward(params, w_, x, lanes, lane, trace, d_z, d_x);
}

void ScoreGate::backward_lane(ParamSet& params, ConstMatrixView x, const LaneLayout& lanes, i64 lane, const ScoreTrace& trace,
                              const Assignment& a, std::span<const real> d_z, MatrixView d_x) const {
  const Range rows = lanes.local_rows(lane);
  const auto lane_of = [&](ConstMatrixView m) { return m.row_range(rows.begin, rows.count); };
  const ConstMatrixView factor = trace.noise_factor.rows() ? lane_of(trace.noise_factor) : ConstMatrixView();
  const std::span<const i64> offset = std::span(a.offset).subspan(static_cast<std::size_t>(rows.begin), static_cast<std::size_t>(rows.count) + 1);
  ops::linear_backward(lane_of(trace.input(x)), params.value(w_), ops::SparseGradient{offset, a.expert, d_z}, factor,
                       d_x.row_range(rows.begin, rows.count), params.grad(w_, lane));
}

}  // namespace pleiad::routing
