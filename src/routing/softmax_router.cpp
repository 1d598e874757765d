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
  if (Trace* spent = dynamic_cast<Trace*>(context.spent)) take_memory(spent->logits, spent->scores, trace->logits, trace->scores);
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
  const Assignment& a = trace.assignment;
  const i64 experts = trace.logits.cols();
  const std::vector<real> d_g = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  std::vector<real> d(d_g.size());
  Matrix d_p, d_z;  // of one lane
  for (i64 lane = 0; lane < context.lanes.my_lanes().count; ++lane) {
    const Range rows = context.lanes.local_rows(lane);
    if (rows.count == 0) continue;
    weigh_by_softmax_backward(a, rule_, rows, d_g, d);
    bool about_p = losses_.about_p();
    for (i64 t = rows.begin; t < rows.end(); ++t) about_p = about_p || (a.offset[t] < a.offset[t + 1] && !goes_to_z(a, rule_, t));
    if (!about_p && !losses_.about_z() && gate_.few_entries(a, rows)) {
      gate_.backward_lane(params, x, context.lanes, lane, scores, a, d, d_x);
      continue;
    }
    d_p.resize(about_p ? rows.count : 0, experts);
    d_z.resize(rows.count, experts);
    for (i64 t = rows.begin; t < rows.end(); ++t) {
      const MatrixView to = goes_to_z(a, rule_, t) ? d_z : d_p;
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) to(t - rows.begin, a.expert[i]) += d[i];
    }
    losses_.backward(scores.p, scores.log_sum_exp, trace, trace.aux, rows, context, loss_scale, d_p, d_z);
    gate_.backward_lane(params, x, context.lanes, lane, scores, d_p, d_z, d_x);
  }
}

}  // namespace pleiad::routing
