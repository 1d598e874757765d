#include "pleiad/model/attention_layer.hpp"

#include <cmath>

#include "pleiad/ops/linear.hpp"

namespace pleiad::model {

AttentionLayer::AttentionLayer(ParamSet& params, const std::string& prefix, i64 width, i64 heads, i64 model_layers) : heads_(heads) {
  const double scale = 1 / std::sqrt(static_cast<double>(width));
  const auto add = [&](const char* name, double s) {
    return params.add({.name = prefix + name, .shape = {width, width}, .init = Init::normal(s)});
  };
  wq_ = add("wq", scale);
  wk_ = add("wk", scale);
  wv_ = add("wv", scale);
  wo_ = add("wo", scale / std::sqrt(2.0 * static_cast<double>(model_layers)));
}

void AttentionLayer::forward(const ParamSet& params, ConstMatrixView x, const ops::RotaryTable& rotary,
                             std::span<const ops::Mask> masks, const StepContext& context, AttentionTrace& trace, MatrixView y) const {
  const i64 length = context.lanes.seq_len();
  for (Matrix* m : {&trace.q, &trace.k, &trace.v, &trace.mixed}) m->resize_uninitialised(x.rows, x.cols);
  trace.weights.resize_uninitialised(x.rows * heads_, length);
  const MatrixView q = trace.q, k = trace.k, v = trace.v, mixed = trace.mixed, weights = trace.weights;

  for_each_lane(context.lanes, [&](i64, i64 begin, i64 count) {
    const ConstMatrixView in = x.row_range(begin, count);
    ops::linear_forward(in, params.value(wq_), q.row_range(begin, count));
    ops::linear_forward(in, params.value(wk_), k.row_range(begin, count));
    ops::linear_forward(in, params.value(wv_), v.row_range(begin, count));
  });
  for (i64 s = 0; s < static_cast<i64>(masks.size()); ++s) {
    const i64 at = s * length;
    ops::rotate(q.row_range(at, length), rotary, heads_);
    ops::rotate(k.row_range(at, length), rotary, heads_);
    ops::attention_forward(q.row_range(at, length), k.row_range(at, length), v.row_range(at, length), masks[s], heads_,
                           weights.row_range(at * heads_, length * heads_), mixed.row_range(at, length));
  }
  for_each_lane(context.lanes, [&](i64, i64 begin, i64 count) {
    ops::linear_forward(mixed.row_range(begin, count), params.value(wo_), y.row_range(begin, count));
  });
}

void AttentionLayer::backward(ParamSet& params, ConstMatrixView x, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks,
                              ConstMatrixView d_y, const StepContext& context, const AttentionTrace& trace, MatrixView d_x) const {
  const i64 length = context.lanes.seq_len();
  const ConstMatrixView q = trace.q, k = trace.k, v = trace.v, mixed = trace.mixed, weights = trace.weights;
  Matrix d_mixed, d_q_rows, d_k_rows, d_v_rows;
  for (Matrix* m : {&d_mixed, &d_q_rows, &d_k_rows, &d_v_rows}) m->resize_uninitialised(x.rows, x.cols);
  const MatrixView d_q = d_q_rows, d_k = d_k_rows, d_v = d_v_rows;
  Buffer<real> scratch;

  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    ops::linear_backward(mixed.row_range(begin, count), params.value(wo_), d_y.row_range(begin, count),
                         d_mixed.view().row_range(begin, count), params.grad(wo_, lane));
  });
  for (i64 s = 0; s < static_cast<i64>(masks.size()); ++s) {
    const i64 at = s * length;
    ops::attention_backward(q.row_range(at, length), k.row_range(at, length), v.row_range(at, length),
                            weights.row_range(at * heads_, length * heads_), masks[s], heads_, d_mixed.view().row_range(at, length),
                            d_q.row_range(at, length), d_k.row_range(at, length), d_v.row_range(at, length), scratch);
    ops::rotate_back(d_q.row_range(at, length), rotary, heads_);
    ops::rotate_back(d_k.row_range(at, length), rotary, heads_);
  }
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    const ConstMatrixView in = x.row_range(begin, count);
    const MatrixView d_in = d_x.row_range(begin, count);
    ops::linear_backward(in, params.value(wq_), d_q.row_range(begin, count), d_in, params.grad(wq_, lane));
    ops::linear_backward(in, params.value(wk_), d_k.row_range(begin, count), d_in, params.grad(wk_, lane), true);
    ops::linear_backward(in, params.value(wv_), d_v.row_range(begin, count), d_in, params.grad(wv_, lane), true);
  });
}

}  // namespace pleiad::model
