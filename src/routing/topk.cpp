#include "pleiad/routing/topk.hpp"

#include <limits>

#include "pleiad/routing/select.hpp"

namespace pleiad::routing {

namespace {

struct Trace : RouterTrace {
  ScoreTrace scores;
  AuxTrace aux;
};

}  // namespace

i64 read_k(const RouterBuild& build, Spec& spec) {
  const i64 k = spec.integer("k", 1, 1, std::numeric_limits<i64>::max(), "experts chosen per token");
  if (k > build.experts()) {
    user_error("moe.k = {}: a token cannot choose more experts than there are; moe.experts is {}, so k may be 1 to {}", k,
               build.experts(), build.experts());
  }
  return k;
}

TopKRouter::TopKRouter(const RouterBuild& build, Spec& spec)
    : k_(read_k(build, spec)),
      renormalize_(spec.flag("renormalize", k_ > 1, "divide weights by their sum over the chosen experts")),
      gate_(build, spec),
      losses_(build, spec),
      capacity_(spec, k_) {}

std::unique_ptr<RouterTrace> TopKRouter::forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<Trace>();
  gate_.forward(params, x, context, trace->logits, trace->scores);
  trace->assignment = select_top_k(trace->scores.p, k_);
  weigh_by_probability(trace->assignment, trace->scores.p, renormalize_);
  losses_.forward(trace->scores.p, trace->scores.log_sum_exp, context, *trace, trace->aux);
  capacity_.apply(trace->assignment, trace->scores.p, context);
  return trace;
}

void TopKRouter::backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& base,
                          std::span<const real> d_weight, double loss_scale, MatrixView d_x) const {
  const Trace& trace = dynamic_cast<const Trace&>(base);
  Matrix d_p(x.rows, trace.logits.cols()), d_z(x.rows, trace.logits.cols());
  const std::vector<real> d_g = losses_.weight_gradient(trace, trace.aux, loss_scale, d_weight);
  weigh_by_probability_backward(trace.assignment, trace.scores.p, renormalize_, d_g, d_p);
  losses_.backward(trace.scores.p, trace.scores.log_sum_exp, trace, trace.aux, loss_scale, d_p, d_z);
  gate_.backward(params, x, context, trace.scores, d_p, d_z, d_x);
}

RouterVariant topk_variant() {
  return {"topk", "the k most probable experts of each token",
          "Fedus, Zoph, Shazeer: Switch Transformers (JMLR 2022, arXiv 2101.03961); Lepikhin et al.: GShard (ICLR 2021, arXiv "
          "2006.16668); Jiang et al.: Mixtral of Experts (2024, arXiv 2401.04088)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<TopKRouter>(b, s); }};
}

}  // namespace pleiad::routing
