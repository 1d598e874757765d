// Hash routing (Roller et al. 2021): the experts of a token depend on its number in the vocabulary only, through a fixed random map.
// All weights are 1/k; there is nothing to train.
#pragma once
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

class HashRouter : public Router {
 public:
  HashRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet&, ConstMatrixView, const RoutingContext&, const RouterTrace&, std::span<const real>, double, MatrixView) const override {}
  double flops_per_token() const override { return 0; }
  double selected_per_token() const override { return static_cast<double>(k_); }

 private:
  i64 k_, experts_;
  std::uint64_t hash_seed_;
};

RouterVariant hash_variant();

}  // namespace pleiad::routing
