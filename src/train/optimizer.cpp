#include "pleiad/train/optimizer.hpp"

#include <cmath>
#include <limits>

namespace pleiad::train {

AdamConfig AdamConfig::read(Spec& s) {
  AdamConfig c;
  c.beta1 = s.number("beta1", 0.9, 0, 0.999999, "decay of the first moment");
  c.beta2 = s.number("beta2", 0.95, 0, 0.9999999, "decay of the second moment");
  c.eps = s.number("adam_eps", 1e-8, 0, 1, "added to the root of the second moment");
  c.weight_decay = s.number("weight_decay", 0.1, 0, 100, "decoupled weight decay, per unit of learning rate");
  return c;
}

Adam::Adam(const AdamConfig& config, const ParamSet& params) : config_(config) {
  for (const Owner owner : {Owner::replicated, Owner::expert}) {
    m_[index(owner)].resize(params.size(owner));
    v_[index(owner)].resize(params.size(owner));
  }
}

void Adam::step(ParamSet& params, double learning_rate, double grad_scale, i64 update) {
  const real beta1 = static_cast<real>(config_.beta1), beta2 = static_cast<real>(config_.beta2);
  const real rest1 = static_cast<real>(1 - config_.beta1), rest2 = static_cast<real>(1 - config_.beta2);
  const real correct1 = static_cast<real>(1 / (1 - std::pow(config_.beta1, static_cast<double>(update))));
  const real correct2 = static_cast<real>(1 / (1 - std::pow(config_.beta2, static_cast<double>(update))));
  const real rate = static_cast<real>(learning_rate), eps = static_cast<real>(config_.eps), scale = static_cast<real>(grad_scale);
  for (const ParamInfo& p : params.infos()) {
    if (!p.trainable) continue;
    const real keep = static_cast<real>(p.decay ? 1 - learning_rate * config_.weight_decay : 1);
    real* w = params.values(p.owner).data() + p.offset;
    const real* g = params.grads(p.owner).data() + p.offset;
    real* m = first(p.owner).data() + p.offset;
    real* v = second(p.owner).data() + p.offset;
    for (i64 i = 0; i < p.size(); ++i) {
      const real gi = g[i] * scale;
      m[i] = beta1 * m[i] + rest1 * gi;
      v[i] = beta2 * v[i] + rest2 * gi * gi;
      w[i] = w[i] * keep - rate * (m[i] * correct1) / (std::sqrt(v[i] * correct2) + eps);
    }
  }
}

}  // namespace pleiad::train
