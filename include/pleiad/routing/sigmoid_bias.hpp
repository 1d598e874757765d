// Balancing without a loss (Wang et al. 2024, arXiv 2408.15664; DeepSeek-V3): s = sigmoid(z), the k largest s + bias are chosen, the
// weights are gate_scale * s / sum of the chosen s, without the bias. After each update the bias of an expert moves by bias_rate
// towards the mean load; it is not trained by gradient.
#pragma once
#include "pleiad/routing/aux_loss.hpp"
#include "pleiad/routing/capacity.hpp"
#include "pleiad/routing/score.hpp"

namespace pleiad::routing {

class SigmoidBiasRouter : public Router {
 public:
  SigmoidBiasRouter(const RouterBuild& build, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const override;
  /// bias_e += bias_rate * sign(mean load - load_e); load counts the selection of the whole batch.
  void update_buffers(ParamSet& params, const RouterTrace& trace, const RoutingContext& context) const override;
  bool causal() const override { return !capacity_.in_evaluation(); }
  double flops_per_token() const override { return gate_.flops_per_token(); }
  double selected_per_token() const override { return static_cast<double>(k_); }

 private:
  i64 k_;
  double gate_scale_, bias_rate_;
  ScoreGate gate_;
  ParamId bias_;
  AuxLosses losses_;
  Capacity capacity_;
};

RouterVariant sigmoid_bias_variant();

}  // namespace pleiad::routing
