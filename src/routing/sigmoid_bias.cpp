#include "pleiad/routing/sigmoid_bias.hpp"

#include <cmath>

#include "pleiad/comm/collectives.hpp"
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
  bias_ = build.params.add({.name = build.prefix + "router/bias", .shape = {build.experts()}, .init = Init::zeros(), .decay = false, .trainable = false});
}

std::unique_ptr<RouterTrace> SigmoidBiasRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  gate_.forward(params, x, context, trace->logits, trace->scores);
  const Matrix& z = trace->logits;
  trace->s.resize_uninitialised(z.rows(), z.cols());
  Matrix biased(z.rows(), z.cols());
  const ConstMatrixView bias = params.value(bias_);
  for (i64 t = 0; t < z.rows(); ++t) {
    for (i64 e = 0; e < z.cols(); ++e) {
      trace->s(t, e) = 1 / (1 + std::exp(-z(t, e)));
      biased(t, e) = trace->s(t, e) + bias(0, e);
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
  Matrix d_p(x.rows, trace.s.cols()), d_z(x.rows, trace.s.cols());
  std::vector<real> d_g = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  // g = scale * share: hand the share's gradient on, with the share as weight.
  Assignment shares = trace.assignment;
  const real scale = static_cast<real>(gate_scale_);
  for (std::size_t i = 0; i < d_g.size(); ++i) {
    d_g[i] *= scale;
    shares.weight[i] = scale != 0 ? shares.weight[i] / scale : 0;
  }
  weigh_by_probability_backward(shares, trace.s, WeightRule::renormalized, d_g, d_z);
  for (i64 t = 0; t < d_z.rows(); ++t) {
    for (i64 e = 0; e < d_z.cols(); ++e) d_z(t, e) *= trace.s(t, e) * (1 - trace.s(t, e));
  }
  losses_.backward(trace.scores.p, trace.scores.log_sum_exp, trace, trace.aux, context, loss_scale, d_p, d_z);
  gate_.backward(params, x, context, trace.scores, d_p, d_z, d_x);
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
