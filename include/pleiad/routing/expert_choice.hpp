// Expert choice (Zhou et al. 2022): every expert takes the tokens with the largest p for it, choices * T / N of them; a token may get no
// expert or all. Over the whole batch this looks at later tokens; choice_group = position compares only tokens of the same position in
// different sequences, which is causal.
#pragma once
#include "pleiad/routing/softmax_router.hpp"

namespace pleiad::routing {

class ExpertChoiceRouter : public SoftmaxRouter {
 public:
  ExpertChoiceRouter(const RouterBuild& build, Spec& spec);
  bool causal() const override { return by_position_; }
  double selected_per_token() const override { return choices_; }

 protected:
  Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const override;

 private:
  double choices_;
  bool by_position_;
};

RouterVariant expert_choice_variant();

}  // namespace pleiad::routing
