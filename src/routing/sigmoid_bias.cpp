#include "pleiad/routing/sigmoid_bias.hpp"

#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/ops/vec.hpp"
#include "pleiad/routing/select.hpp"
#include "pleiad/routing/topk.hpp"

namespace pleiad::routing {

namespace {

struct Trace : RouterTrace {
  ScoreTrace scores;
  AuxTrace aux;
  Matrix s;  // [T,N] sigmoid(z)
};

}  // namespace

SigmoidBiasRouter::SigmoidBiasRouter(const RouterBuild& build, Spec& spec)
    : k_(read_k(build, spec)),
      gate_scale_(spec.number("gate_scale", 1, 0, 1e6, "factor on the weights")),
      bias_rate_(spec.number("bias_rate", 0.001, 0, 1e3, "step of the balancing bias after each update")),
      gate_(build, spec),
      losses_(build, spec),
      capacity_(spec, k_, build.split) {
  bias_ = build.params.add({.name = build.prefix + "router/bias", .shape = {build.experts()}, .init = Init::zeros(), .decay = false, .trainable = false, .router = true});
}

std::unique_ptr<RouterTrace> SigmoidBiasRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  if (Trace* spent = dynamic_cast<Trace*>(context.spent)) {
    take_memory(spent->logits, spent->scores, trace->logits, trace->scores);
    std::swap(trace->s, spent->s);
  }
  gate_.forward(params, x, context, trace->logits, trace->scores);
  const Matrix& z = trace->logits;
  trace->s.resize_uninitialised(z.rows(), z.cols());
  Matrix biased;
  biased.resize_uninitialised(z.rows(), z.cols());
  const ConstMatrixView bias = params.value(bias_);
  for (i64 t = 0; t < z.rows(); ++t) {
    const real *z_t = z.row(t), *b = bias.data;
    real *s_t = trace->s.row(t), *biased_t = biased.row(t);
#pragma omp simd
    for (i64 e = 0; e < z.cols(); ++e) {
      s_t[e] = ops::vec::sigmoid(z_t[e]);
      biased_t[e] = s_t[e] + b[e];
    }
  }
  Assignment& a = trace->assignment;
  a = select_top_k(biased, k_, context.real_tokens);
  weigh_by_probability(a, trace->s, WeightRule::renormalized);
  for (real& w : a.weight) w *= static_cast<real>(gate_scale_);
  losses_.forward(trace->scores.p, trace->scores.log_sum_exp, context, *trace, trace->aux);
  trace->capacity = capacity_.apply(a, trace->scores.p, context);
  return trace;
}

void SigmoidBiasRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                                 std::span<const real> d_weight, double loss_scale, MatrixView d_x) const {
  const Trace& trace = dynamic_cast<const Trace&>(base);
  const Assignment& a = trace.assignment;
  std::vector<real> d = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  const real scale = static_cast<real>(gate_scale_);
  // g_i = scale s_i / mass, ds/dz = s (1 - s): dL/dz_i = (scale d_g_i - sum_j g_j d_g_j) / mass * s_i (1 - s_i).
  for (i64 t = 0; t < a.tokens(); ++t) {
    real mass = 0, mean = 0;
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      mass += trace.s(t, a.expert[i]);
      mean += a.weight[i] * d[i];
    }
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const real s = trace.s(t, a.expert[i]);
      d[i] = (scale * d[i] - mean) / mass * s * (1 - s);
    }
  }
  Matrix d_p, d_z;
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    if (rows.count == 0) continue;
    if (!losses_.about_p() && !losses_.about_z() && gate_.few_entries(a, rows)) {
      gate_.backward_lane(params, x, context.lanes, lane, trace.scores, a, d, d_x);
      continue;
    }
    d_p.resize(losses_.about_p() ? rows.count : 0, trace.s.cols());
    d_z.resize(rows.count, trace.s.cols());
    for (i64 t = rows.begin; t < rows.end(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) d_z(t - rows.begin, a.expert[i]) += d[i];
    }
    losses_.backward(trace.scores.p, trace.scores.log_sum_exp, trace, trace.aux, rows, context, loss_scale, d_p, d_z);
    gate_.backward_lane(params, x, context.lanes, lane, trace.scores, d_p, d_z, d_x);
  }
}

void SigmoidBiasRouter::update_buffers(ParamSet& params, const RouterTrace& trace, const RoutingContext& context) const {
  std::vector<i64> load = count_per_expert(trace.assignment, false);
  comm::all_reduce_sum<i64>(context.world, load);
  i64 total = 0;
  for (const i64 n : load) total += n;
  const MatrixView bias = params.value(bias_);
  for (i64 e = 0; e < bias.cols; ++e) {
    // Against the mean in whole numbers, so that equality is exact.
    const i64 short_of_mean = total - load[e] * bias.cols;
    if (short_of_mean != 0) bias(0, e) += static_cast<real>(short_of_mean > 0 ? bias_rate_ : -bias_rate_);
  }
}

RouterVariant sigmoid_bias_variant() {
  return {"sigmoid_bias", "the k best sigmoid scores plus a balancing bias that is moved, not trained",
          "Wang et al.: Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts (2024, arXiv 2408.15664); DeepSeek-V3 Technical "
          "Report (2024, arXiv 2412.19437)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<SigmoidBiasRouter>(b, s); }};
}

}  // namespace pleiad::routing
