// How much of something (experts, heads of retrieval) attention gives a token (DA-MoE, arXiv 2409.06669): the importance a_t of a token comes from the
// attention maps of the same block, its count K_t of N from a_t. With r_t = mean over heads of the largest weight in the token's row, L keys of the sequence:
//   importance  row: r_t;  received: mean over heads of the largest weight the token receives;  column: mean weight it receives over the
//               real queries, divided by the largest such mean of its sequence
//   k_rule      literal: K = ceil(a N);  budget: K = floor(k_mean a / mean a of the sequence + 1/2);
//               causal (row only): with m visible keys a = 1 + ln r / ln m, 0 for the first token, K = ceil(a N)
// always clamped to 1 .. k_max. K has no gradient.
#pragma once
#include "pleiad/core/spec.hpp"
#include "pleiad/routing/router.hpp"

namespace pleiad::routing {

class AttentionCount {
 public:
  /// Options importance, k_rule, k_max, k_mean. `most`: how many there are of `what`.
  AttentionCount(Spec& spec, i64 most, const std::string& what);
  /// What a later token pays, or a mean over the sequence, tells of later tokens.
  bool causal() const { return importance_ == Importance::row && rule_ != Rule::budget; }
  i64 most() const { return k_max_; }
  /// Counts of this rank's tokens [T], 0 for padding; `importance` becomes [T]. pre: the context has attention maps. Local.
  std::vector<i64> count(const RoutingContext& context, std::vector<double>& importance) const;

 private:
  enum class Importance { row, received, column };
  enum class Rule { literal, budget, causal };
  void sequence_importance(i64 sequence, const RoutingContext& context, std::span<double> a) const;
  i64 of(double importance, double mean) const;

  Importance importance_;
  Rule rule_;
  i64 most_, k_max_;
  double k_mean_;
};

}  // namespace pleiad::routing
