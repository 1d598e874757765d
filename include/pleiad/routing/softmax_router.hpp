// The common body of routers that weigh experts by softmax probabilities: scores, choice, weights, losses, capacity, and the way
// back. A variant only says which experts a token gets and which weight rule holds.
#pragma once
#include "pleiad/routing/aux_loss.hpp"
#include "pleiad/routing/capacity.hpp"
#include "pleiad/routing/score.hpp"
#include "pleiad/routing/select.hpp"

namespace pleiad::routing {

/// The weight rule of routers that give every token a number of experts of its own. The first reads moe.raw_if_single (true); the
/// second reads moe.renormalize (true) before it and is raw where that is false.
WeightRule read_raw_if_single(Spec& spec);
WeightRule read_weight_rule(Spec& spec);

class SoftmaxRouter : public Router {
 public:
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const final;
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const final;
  double flops_per_token() const override { return gate_.flops_per_token(); }
  bool causal() const override { return !capacity_.in_evaluation(); }

 protected:
  /// Reads the options that all of them share; `capacity_choices` is the m of the capacity formula.
  SoftmaxRouter(const RouterBuild& build, Spec& spec, WeightRule rule, i64 capacity_choices);
  /// The experts of this rank's tokens, best probability first, none for padding; weights unset. p [T,N]. May set what statistics want
  /// in `trace`. May be collective over context.world.
  virtual Assignment select(ConstMatrixView p, const RoutingContext& context, RouterTrace& trace) const = 0;

 private:
  WeightRule rule_;
  ScoreGate gate_;
  AuxLosses losses_;
  Capacity capacity_;
};

}  // namespace pleiad::routing
