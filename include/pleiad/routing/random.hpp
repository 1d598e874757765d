// Random routing, a control: k different experts drawn anew for every token and step, weights 1/k. There is nothing to train.
#pragma once
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

class RandomRouter : public Router {
 public:
  RandomRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet&, ConstMatrixView, const RoutingContext&, const RouterTrace&, std::span<const real>, double, MatrixView) const override {}
  double flops_per_token() const override { return 0; }
  double selected_per_token() const override { return static_cast<double>(k_); }

 private:
  i64 k_, experts_;
};

RouterVariant random_variant();

}  // namespace pleiad::routing
