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

  // Lane by lane from end to end: what one product leaves in the cache is what the next one reads.
  for_each_lane(context.lanes, [&](i64, i64 begin, i64 count) {
    const ConstMatrixView in = x.row_range(begin, count);
    ops::linear_forward(in, params.value(wq_), q.row_range(begin, count));
    ops::linear_forward(in, params.value(wk_), k.row_range(begin, count));
    ops::linear_forward(in, params.value(wv_), v.row_range(begin, count));
    for (i64 at = begin; at < begin + count; at += length) {
      ops::rotate(q.row_range(at, length), rotary, heads_);
      ops::rotate(k.row_range(at, length), rotary, heads_);
      ops::attention_forward(q.row_range(at, length), k.row_range(at, length), v.row_range(at, length), masks[at / length], heads_,
                             weights.row_range(at * heads_, length * heads_), mixed.row_range(at, length));
    }
    ops::linear_forward(mixed.row_range(begin, count), params.value(wo_), y.row_range(begin, count));
  });
}

void AttentionLayer::backward(ParamSet& params, ConstMatrixView x, const ops::RotaryTable& rotary, std::span<const ops::Mask> masks,
                              ConstMatrixView d_y, const StepContext& context, const AttentionTrace& trace, AttentionRoom& room, MatrixView d_x) const {
  const i64 length = context.lanes.seq_len();
  const ConstMatrixView q = trace.q, k = trace.k, v = trace.v, mixed = trace.mixed, weights = trace.weights;
  Matrix &d_mixed = room.d_mixed, &d_q = room.d_q, &d_k = room.d_k, &d_v = room.d_v;
  for_each_lane(context.lanes, [&](i64 lane, i64 begin, i64 count) {
    context.look_after_messages();
    for (Matrix* m : {&d_mixed, &d_q, &d_k, &d_v}) m->resize_uninitialised(count, x.cols);
    ops::linear_backward(mixed.row_range(begin, count), params.value(wo_), d_y.row_range(begin, count), d_mixed, params.grad(wo_, lane));
    for (i64 at = 0; at < count; at += length) {
      const auto rows = [&](Matrix& m) { return m.view().row_range(at, length); };
      const i64 first = begin + at;
      ops::attention_backward(q.row_range(first, length), k.row_range(first, length), v.row_range(first, length),
                              weights.row_range(first * heads_, length * heads_), masks[first / length], heads_, rows(d_mixed), rows(d_q),
                              rows(d_k), rows(d_v), room.scores);
      ops::rotate_back(rows(d_q), rotary, heads_);
      ops::rotate_back(rows(d_k), rotary, heads_);
    }
    const ConstMatrixView in = x.row_range(begin, count);
    const MatrixView d_in = d_x.row_range(begin, count);
    ops::linear_backward(in, params.value(wq_), d_q, d_in, params.grad(wq_, lane));
    ops::linear_backward(in, params.value(wk_), d_k, d_in, params.grad(wk_, lane), true);
    ops::linear_backward(in, params.value(wv_), d_v, d_in, params.grad(wv_, lane), true);
  });
}

}  // namespace pleiad::model
