#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

namespace {

struct Trace : RouterTrace {
  ScoreTrace scores;
  AuxTrace aux;
};

}  // namespace

WeightRule read_raw_if_single(Spec& spec) {
  return spec.flag("raw_if_single", true, "where a token has one expert, its weight is p and not 1") ? WeightRule::raw_if_single : WeightRule::renormalized;
}

WeightRule read_weight_rule(Spec& spec) {
  const bool renormalize = spec.flag("renormalize", true, "divide weights by their sum over the chosen experts");
  return renormalize ? read_raw_if_single(spec) : WeightRule::raw;
}

SoftmaxRouter::SoftmaxRouter(const RouterBuild& build, Spec& spec, WeightRule rule, i64 capacity_choices)
    : rule_(rule), gate_(build, spec), losses_(build, spec), capacity_(spec, capacity_choices, build.split) {}

std::unique_ptr<RouterTrace> SoftmaxRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  const ScoreTrace& scores = trace->scores;
  gate_.forward(params, x, context, trace->logits, trace->scores);
  trace->assignment = select(scores.p, context, *trace);
  weigh_by_probability(trace->assignment, scores.p, rule_);
  losses_.forward(scores.p, scores.log_sum_exp, context, *trace, trace->aux);
  trace->capacity = capacity_.apply(trace->assignment, scores.p, context);
  return trace;
}

void SoftmaxRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                             std::span<const real> d_weight, double loss_scale, MatrixView d_x) const {
  const Trace& trace = dynamic_cast<const Trace&>(base);
  const ScoreTrace& scores = trace.scores;
  Matrix d_p(x.rows, trace.logits.cols()), d_z(x.rows, trace.logits.cols());
  const std::vector<real> d_g = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  weigh_by_softmax_backward(trace.assignment, rule_, d_g, d_p, d_z);
  losses_.backward(scores.p, scores.log_sum_exp, trace, trace.aux, context, loss_scale, d_p, d_z);
  gate_.backward(params, x, context, scores, d_p, d_z, d_x);
}

}  // namespace pleiad::routing
