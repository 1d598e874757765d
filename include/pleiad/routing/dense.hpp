// The trivial router: one expert, every token goes to it with weight 1. The dense feed-forward layer as a special case of MoE.
#pragma once
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

class DenseRouter : public Router {
 public:
  DenseRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const override;
  double flops_per_token() const override { return 0; }
  double selected_per_token() const override { return 1; }
};

RouterVariant dense_variant();

}  // namespace pleiad::routing
