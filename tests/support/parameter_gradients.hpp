// Checks the gradient of every parameter of a ParamSet against central differences. For tests compiled in double.
#pragma once
#include "pleiad/core/param.hpp"
#include "support/gradient_check.hpp"

namespace pleiad::test {

/// Sum over lanes of the gradient of a parameter, before the lanes are added up.
inline std::vector<real> whole_gradient(ParamSet& params, const ParamInfo& p) {
  std::vector<real> sum(static_cast<std::size_t>(p.size()), 0);
  const i64 lanes = p.owner == Owner::replicated ? params.grad_lanes() : 1;
  for (i64 lane = 0; lane < lanes; ++lane) {
    const std::vector<real> part = params.whole_grad({p.index}, lane);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
  }
  return sum;
}

/// `objective` takes no argument and reads the parameters.
template <class Objective>
void expect_parameter_gradients(ParamSet& params, Objective objective, GradientCheck options = {}) {
  for (const ParamInfo& p : params.infos()) {
    if (!p.trainable) continue;
    const std::vector<real> gradient = whole_gradient(params, p);
    EXPECT_TRUE(gradient_agrees(p.name, objective, params.slice(p, params.values(p.owner)), gradient, options));
  }
}

}  // namespace pleiad::test
