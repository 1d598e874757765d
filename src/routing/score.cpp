#include "pleiad/routing/score.hpp"

#include <cmath>

#include "pleiad/core/random.hpp"
#include "pleiad/ops/linear.hpp"
#include "pleiad/ops/softmax.hpp"

namespace pleiad::routing {

ScoreGate::ScoreGate(const RouterBuild& build, Spec& spec)
    : width_(build.width),
      experts_(build.experts()),
      input_noise_(spec.number("input_noise", 0, 0, 1, "router input is multiplied by U(1-e, 1+e) in training")) {
  // Small initial router weights: Switch Transformer scales the usual 1/sqrt(D) deviation by sqrt(0.1).
  w_ = build.params.add({.name = build.prefix + "router/w",
                         .shape = {experts_, width_},
                         .init = Init::normal(std::sqrt(0.1 / static_cast<double>(width_)))});
}

void linear_lanes_forward(const ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, MatrixView z) {
  for (i64 lane = 0; lane < lanes.my_lanes().count; ++lane) {
    const Range rows = lanes.local_rows(lane);
    if (rows.count) ops::linear_forward(x.row_range(rows.begin, rows.count), params.value(w), z.row_range(rows.begin, rows.count));
  }
}

void linear_lanes_backward(ParamSet& params, ParamId w, ConstMatrixView x, const LaneLayout& lanes, const ScoreTrace& trace,
                           ConstMatrixView d_z, MatrixView d_x) {
  Matrix d_in;
  for (i64 lane = 0; lane < lanes.my_lanes().count; ++lane) {
    const Range rows = lanes.local_rows(lane);
    if (rows.count == 0) continue;
    d_in.resize_uninitialised(rows.count, x.cols);
    ops::linear_backward(trace.input(x).row_range(rows.begin, rows.count), params.value(w), d_z.row_range(rows.begin, rows.count),
                         d_in, params.grad(w, lane));
    for (i64 i = 0; i < rows.count; ++i) {
      real* out = d_x.row(rows.begin + i);
      const real* in = d_in.row(i);
      if (trace.noise_factor.rows()) {
        const real* factor = trace.noise_factor.row(rows.begin + i);
        for (i64 j = 0; j < x.cols; ++j) out[j] += in[j] * factor[j];
      } else {
        for (i64 j = 0; j < x.cols; ++j) out[j] += in[j];
      }
    }
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
  linear_lanes_forward(params, w_, trace.input(x), context.lanes, logits);
  ops::softmax_rows(logits, trace.p, trace.log_sum_exp);
}

void ScoreGate::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const ScoreTrace& trace,
                         MatrixView d_p, MatrixView d_z, MatrixView d_x) const {
  ops::softmax_backward_rows(trace.p, d_p, d_p);
  for (i64 t = 0; t < d_z.rows; ++t) {
    for (i64 e = 0; e < d_z.cols; ++e) d_z(t, e) += d_p(t, e);
  }
  linear_lanes_backward(params, w_, x, context.lanes, trace, d_z, d_x);
}

}  // namespace pleiad::routing
