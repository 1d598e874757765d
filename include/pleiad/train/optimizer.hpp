// AdamW (Loshchilov and Hutter 2019, algorithm 2): decoupled weight decay, bias-corrected moments. Dense: an expert without tokens
// has gradient zero, but its moments and its decay go on. Element by element, so the result does not depend on who owns what.
#pragma once
#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"

namespace pleiad::train {

struct AdamConfig {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  /// Reads train.beta1, beta2, adam_eps, weight_decay.
  static AdamConfig read(Spec& train);
};

class Adam {
 public:
  /// Moments start at zero and are laid out like the values of `params`.
  Adam(const AdamConfig& config, const ParamSet& params);

  /// One update of every trainable parameter from gradient lane 0, multiplied by grad_scale; `update` counts from 1. Local.
  void step(ParamSet& params, double learning_rate, double grad_scale, i64 update);

  /// First and second moments, laid out like ParamSet::values(owner).
  std::span<real> first(Owner owner) { return m_[index(owner)].span(); }
  std::span<real> second(Owner owner) { return v_[index(owner)].span(); }

 private:
  static int index(Owner owner) { return owner == Owner::replicated ? 0 : 1; }
  AdamConfig config_;
  Buffer<real> m_[2], v_[2];
};

}  // namespace pleiad::train
