#include "pleiad/routing/noisy_topk.hpp"

#include <cmath>
#include <limits>
#include <numbers>

#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/ops/softmax.hpp"
#include "pleiad/routing/select.hpp"
#include "pleiad/routing/topk.hpp"

namespace pleiad::routing {

namespace {

constexpr double k_any = std::numeric_limits<double>::infinity();

struct Trace : RouterTrace {
  ScoreTrace scores;
  AuxTrace aux;
  Matrix raw_spread, spread, noise, noisy;  // [T,N]: W_n x, softplus of it, the draws, u
  std::vector<std::int32_t> ranked;         // [T, k+1] experts by u, best first
  std::vector<double> load_slope;           // [N] derivative of CV^2 by each expert's load
};

double softplus(double a) { return a > 0 ? a + std::log1p(std::exp(-a)) : std::log1p(std::exp(a)); }
double sigmoid(double a) { return 1 / (1 + std::exp(-a)); }
double normal_cdf(double a) { return 0.5 * std::erfc(-a * std::numbers::sqrt2 / 2); }
double normal_density(double a) { return std::exp(-0.5 * a * a) / std::sqrt(2 * std::numbers::pi); }

/// The expert whose u is the threshold for e: the k-th largest of all others.
std::int32_t threshold_expert(const std::int32_t* ranked, i64 k, std::int32_t e) {
  for (i64 i = 0; i < k; ++i) {
    if (ranked[i] == e) return ranked[k];
  }
  return ranked[k - 1];
}

}  // namespace

NoisyTopKRouter::NoisyTopKRouter(const RouterBuild& build, Spec& spec)
    : k_(read_k(build, spec)),
      gate_(build, spec),
      load_(spec.number("load_loss", 0, -k_any, k_any, "coefficient of CV^2 of smooth load")),
      losses_(build, spec),
      capacity_(spec, k_, build.split) {
  if (load_ != 0 && k_ >= build.experts()) {
    user_error("moe.load_loss = {}: needs moe.k below {} = {} (the k-th best of the other experts), k is {}", load_,
               build.experts_key(), build.experts(), k_);
  }
  w_noise_ = build.params.add({.name = build.prefix + "router/w_noise", .shape = {build.experts(), build.width}, .init = Init::zeros(), .router = true});
}

std::unique_ptr<RouterTrace> NoisyTopKRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  if (Trace* spent = dynamic_cast<Trace*>(context.spent)) take_memory(spent->logits, spent->scores, trace->logits, trace->scores);
  gate_.forward(params, x, context, trace->logits, trace->scores);
  const i64 tokens = x.rows, experts = trace->logits.cols();
  const Matrix& z = trace->logits;
  for (Matrix* m : {&trace->raw_spread, &trace->spread, &trace->noise, &trace->noisy}) m->resize(tokens, experts);
  linear_lanes_forward(params, w_noise_, trace->scores.input(x), context.lanes, trace->raw_spread);
  const Stream draw(context.seed, Purpose::gate_noise, static_cast<std::uint32_t>(context.layer), static_cast<std::uint64_t>(context.step));
  for (i64 t = 0; t < tokens; ++t) {
    const i64 first = (context.lanes.first_token() + t) * experts;
    for (i64 e = 0; e < experts; ++e) {
      if (context.given_noise.rows) {
        trace->noise(t, e) = context.given_noise(t, e);
      } else if (context.training) {
        trace->noise(t, e) = static_cast<real>(draw.normal(static_cast<std::uint64_t>(first + e)));
      }
      trace->spread(t, e) = static_cast<real>(softplus(trace->raw_spread(t, e)));
      trace->noisy(t, e) = z(t, e) + trace->noise(t, e) * trace->spread(t, e);
    }
  }
  const i64 ranks_needed = std::min(k_ + 1, experts);
  trace->ranked = select_top_k(trace->noisy, ranks_needed).expert;
  trace->assignment = select_top_k(trace->noisy, k_, context.real_tokens);
  Assignment& a = trace->assignment;
  std::vector<real> chosen(static_cast<std::size_t>(k_));
  for (i64 t = 0; t < tokens; ++t) {
    if (!context.is_real(t)) continue;
    for (i64 i = 0; i < k_; ++i) chosen[i] = trace->noisy(t, a.expert[a.offset[t] + i]);
    MatrixView weights(a.weight.data() + a.offset[t], 1, k_);
    ops::softmax_rows(ConstMatrixView(chosen.data(), 1, k_), weights, {});
  }
  losses_.forward(trace->scores.p, trace->scores.log_sum_exp, context, *trace, trace->aux);

  if (load_ != 0) {
    const std::vector<double> load = comm::lane_statistics(context.world, context.lanes, experts, [&](i64 lane, double* row) {
      const Range rows = context.lanes.local_rows(lane);
      for (i64 t = rows.begin; t < rows.end(); ++t) {
        for (i64 e = 0; context.is_real(t) && e < experts; ++e) {
          const i64 limit = threshold_expert(trace->ranked.data() + t * ranks_needed, k_, static_cast<std::int32_t>(e));
          row[e] += normal_cdf((static_cast<double>(z(t, e)) - trace->noisy(t, limit)) / trace->spread(t, e));
        }
      }
    });
    trace->load_slope.resize(load.size());
    trace->losses.push_back({"load", squared_cv(load, trace->load_slope), load_});
  }
  trace->capacity = capacity_.apply(a, trace->scores.p, context);
  return trace;
}

void NoisyTopKRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                               std::span<const real> d_weight, double loss_scale, MatrixView d_x) const {
  const Trace& trace = dynamic_cast<const Trace&>(base);
  const Assignment& a = trace.assignment;
  const i64 tokens = x.rows, experts = trace.logits.cols();
  const i64 ranks_needed = std::min(k_ + 1, experts);
  Matrix d_p(tokens, experts), d_z(tokens, experts), d_u(tokens, experts), d_spread(tokens, experts);
  losses_.backward(trace.scores.p, trace.scores.log_sum_exp, trace, trace.aux, {0, x.rows}, context, loss_scale, d_p, d_z);
  const std::vector<real> d_g = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  for (i64 t = 0; t < tokens; ++t) {
    if (!context.is_real(t)) continue;
    // The weights are a softmax of u over the chosen experts.
    real mean = 0;
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) mean += a.weight[i] * d_g[i];
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) d_u(t, a.expert[i]) += a.weight[i] * (d_g[i] - mean);
    for (i64 e = 0; load_ != 0 && e < experts; ++e) {
      const i64 limit = threshold_expert(trace.ranked.data() + t * ranks_needed, k_, static_cast<std::int32_t>(e));
      const double spread = trace.spread(t, e);
      const double q = (static_cast<double>(trace.logits(t, e)) - trace.noisy(t, limit)) / spread;
      const double slope = loss_scale * load_ * trace.load_slope[e] * normal_density(q) / spread;
      d_z(t, e) += static_cast<real>(slope);
      d_u(t, limit) -= static_cast<real>(slope);
      d_spread(t, e) -= static_cast<real>(slope * q);
    }
    // u = z + noise * softplus(raw)
    for (i64 e = 0; e < experts; ++e) {
      d_z(t, e) += d_u(t, e);
      d_spread(t, e) = (d_spread(t, e) + d_u(t, e) * trace.noise(t, e)) * static_cast<real>(sigmoid(trace.raw_spread(t, e)));
    }
  }
  linear_lanes_backward(params, w_noise_, x, context.lanes, trace.scores, d_spread, d_x);
  gate_.backward(params, x, context, trace.scores, d_p, d_z, d_x);
}

RouterVariant noisy_topk_variant() {
  return {"noisy_topk", "the k best noisy scores, softmax over them, importance and load losses",
          "Shazeer et al.: Outrageously Large Neural Networks (ICLR 2017, arXiv 1701.06538)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<NoisyTopKRouter>(b, s); }};
}

}  // namespace pleiad::routing
