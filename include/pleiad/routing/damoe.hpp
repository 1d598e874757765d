// Attention-driven number of experts (DA-MoE, arXiv 2409.06669): the importance a_t of a token comes from the attention maps of the same
// block, its number of experts K_t from a_t, its experts are the K_t most probable. With r_t = mean over heads of the largest weight in
// the token's row, N experts, L keys of the sequence:
//   importance  row: r_t;  received: mean over heads of the largest weight the token receives;  column: mean weight it receives over the
//               real queries, divided by the largest such mean of its sequence
//   k_rule      literal: K = ceil(a N);  budget: K = floor(k_mean a / mean a of the sequence + 1/2);
//               causal (row only): with m visible keys a = 1 + ln r / ln m, 0 for the first token, K = ceil(a N)
// always clamped to 1 .. k_max. K has no gradient. Weights renormalised; raw where K = 1, so that the router keeps its gradient.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class DaMoeRouter : public SoftmaxRouter {
 public:
  DaMoeRouter(const RouterBuild& build, Spec& spec);
  /// What a later token pays, or a mean over the sequence, tells of later tokens.
  bool causal() const override { return SoftmaxRouter::causal() && importance_ == Importance::row && rule_ != Rule::budget; }
  bool has_importance() const override { return true; }

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  enum class Importance { row, received, column };
  enum class Rule { literal, budget, causal };
  void sequence_importance(i64 sequence, const RoutingContext& context, std::span<double> a) const;
  i64 experts_for(double importance, double mean) const;

  Importance importance_;
  Rule rule_;
  i64 experts_, k_max_;
  double k_mean_;
};

RouterVariant damoe_variant();

}  // namespace pleiad::routing
