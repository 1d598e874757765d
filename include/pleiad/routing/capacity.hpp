// Expert capacity: every expert keeps at most C tokens of the whole global batch, decided identically on any number of ranks.
// C = max(min_capacity, ceil(choices * factor * split * T / N)); all rank-1 choices are placed before any rank-2 choice, and so on;
// inside one rank by position (Fedus et al. 2021, Lepikhin et al. 2020) or by probability (Yang et al. 2024, XMoE).
#pragma once
#include "pleiad/core/spec.hpp"
#include "pleiad/routing/router.hpp"

namespace pleiad::routing {

class Capacity {
 public:
  /// Reads moe.capacity_factor (0: dropless), moe.min_capacity, moe.capacity_order, moe.eval_capacity. `choices` is the m of
  /// the formula: k for routers with a fixed k, else 1. With moe.split = s > 1 every expert of the base model became s of 1/s the
  /// width; each of them keeps what the whole one could, a factor s times as large, so that sum_e C h_e stays that of the base model
  /// (XMoE, Yang et al. 2024: 8 x 3072 with factor 1 -> 64 x 384 with factor 8).
  Capacity(Spec& spec, i64 choices, i64 split = 1);

  /// Whether it is in force in evaluation, where tokens then compete with later ones of their sequence.
  bool in_evaluation() const { return factor_ > 0 && in_evaluation_; }
  /// The C in force for a batch of `tokens`; 0 means dropless.
  i64 limit(i64 tokens, i64 experts, bool training) const;
  /// Clears `kept` of what does not fit and returns C (0: dropless); p [T,N] are the probabilities that order and break ties. collective.
  i64 apply(Assignment& a, ConstMatrixView p, const RoutingContext& context) const;

 private:
  double factor_;
  i64 minimum_, choices_, split_;
  bool by_probability_, in_evaluation_;
};

}  // namespace pleiad::routing
