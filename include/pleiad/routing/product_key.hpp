// Product-key routing over N = n * n experts (Lample et al. 2019; PEER, He 2024): a query per head, split in two halves, each scored against
// n sub-keys; expert a n + b scores q1 . C1[a] + q2 . C2[b]; a head keeps its k best of all N, weighted by a softmax over their scores.
// Heads add up without normalisation; the same expert may appear in several heads. Optional batch norm of the query. With active_heads = attention a
// token uses its first K_t heads only, K_t from attention (attention_count.hpp; a combination of PEER and DA-MoE that neither paper has).
// Letters: T tokens of this rank, D width, H heads, Q query width of a head, n sub-keys. Variants: peer.hpp, pkm.hpp.
#pragma once
#include <optional>

#include "pleiad/routing/attention_count.hpp"
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

class ProductKeyRouter : public Router {
 public:
  /// Parameters stand under prefix + `group`: w_query [H*Q, D], sub_keys_1 and sub_keys_2 [n, Q/2] or [H, n, Q/2], bn_*.
  ProductKeyRouter(const RouterBuild& build, const std::string& group, Spec& spec);
  std::unique_ptr<RouterTrace> forward(const ParamSet& params, ConstMatrixView x, const RoutingContext& context) const override;
  /// collective over context.world: the gradient flows through the batch statistics.
  void backward(ParamSet& params, ConstMatrixView x, const RoutingContext& context, const RouterTrace& trace,
                std::span<const real> d_weight, double loss_scale, MatrixView d_x) const override;
  /// Running mean and (unbiased) variance of the query move towards those of the batch.
  void update_buffers(ParamSet& params, const RouterTrace& trace, const RoutingContext& context) const override;
  double flops_per_token() const override;
  bool causal() const override { return !active_ || active_->causal(); }
  bool has_importance() const override { return active_.has_value(); }
  double selected_per_token() const override { return active_ ? 0 : static_cast<double>(heads_ * k_); }
  double most_per_token() const override { return static_cast<double>((active_ ? active_->most() : heads_) * k_); }

 private:
  struct Trace;
  ConstMatrixView keys_of(const ParamSet& params, int half, i64 head) const;
  MatrixView key_grads_of(ParamSet& params, int half, i64 head, i64 lane) const;
  void normalise(const ParamSet& params, const RoutingContext& context, Trace& trace) const;
  void normalise_backward(ParamSet& params, const RoutingContext& context, const Trace& trace, Matrix& d_query) const;

  i64 width_, heads_, query_, keys_, k_;
  bool shared_, norm_;
  double eps_ = 1e-5, momentum_ = 0.1;
  std::optional<AttentionCount> active_;  // heads of a token; all without it
  ParamId w_query_, sub_keys_[2], gamma_, beta_, mean_, variance_;
};

}  // namespace pleiad::routing
