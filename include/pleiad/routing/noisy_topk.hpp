// Noisy top-k gating (Shazeer et al. 2017, section 2.1 and appendix A): u = z + noise * softplus(W_n x), the k largest u, softmax
// over them. A loss of its own: the squared coefficient of variation of load, the smooth probability of being chosen again under
// new noise. No noise in evaluation.
#pragma once
#include "pleiad/routing/aux_loss.hpp"
#include "pleiad/routing/capacity.hpp"
#include "pleiad/routing/score.hpp"

namespace pleiad::routing {

class NoisyTopKRouter : public Router {
 public:
  NoisyTopKRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const override;
  bool causal() const override { return !capacity_.in_evaluation(); }
  double flops_per_token() const override { return 2 * gate_.flops_per_token(); }
  double selected_per_token() const override { return static_cast<double>(k_); }

 private:
  i64 k_;
  ScoreGate gate_;
  ParamId w_noise_;
  double load_;
  AuxLosses losses_;
  Capacity capacity_;
};

RouterVariant noisy_topk_variant();

}  // namespace pleiad::routing
