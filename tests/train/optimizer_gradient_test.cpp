// AdamW in double against its formulas written out for three steps, decay and clipping included.
#include "pleiad/train/optimizer.hpp"
#include "support/sample.hpp"

namespace pleiad::train {
namespace {

struct Sample {
  Sample() {
    params.add({.name = "weight", .shape = {3, 5}, .init = {}});
    params.add({.name = "norm", .shape = {4}, .init = {}, .decay = false});
    params.add({.name = "scores", .shape = {3, 2}, .init = {}, .router = true});
    params.add({.name = "keys", .shape = {2, 4}, .init = {}, .router = true});
    params.add({.name = "buffer", .shape = {2}, .init = {}, .trainable = false});
    params.add({.name = "expert", .shape = {2, 2}, .owner = Owner::expert, .init = {}, .expert = 0, .slot = 0});
    params.allocate();
    params.allocate_grads(2);
    for (const ParamInfo& p : params.infos()) test::fill_normal(params.slice(p, params.values(p.owner)), p.name.size());
  }
  std::span<real> gradient(const ParamInfo& p) {
    return params.slice(p, params.grads(p.owner).first(static_cast<std::size_t>(params.size(p.owner))));
  }
  ParamSet params;
  const AdamConfig config{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-3, .weight_decay = 0.2, .router_rate = 0.25};
};

TEST(Adam, EqualsItsFormulasForThreeSteps) {
  Sample s;
  Adam adam(s.config, s.params);
  struct Reference {
    std::vector<double> w, m, v;
  };
  std::vector<Reference> reference;
  for (const ParamInfo& p : s.params.infos()) {
    const auto w = s.params.slice(p, s.params.values(p.owner));
    reference.push_back({{w.begin(), w.end()}, std::vector<double>(w.size(), 0), std::vector<double>(w.size(), 0)});
  }
  for (i64 step = 1; step <= 3; ++step) {
    const double most = 0.1 / static_cast<double>(step), scale = step == 2 ? 0.5 : 1;
    for (std::size_t k = 0; k < reference.size(); ++k) {
      const ParamInfo& p = s.params.infos()[k];
      const double rate = p.router ? most / 4 : most;
      const auto g = s.gradient(p);
      test::fill_normal(g, 100 * static_cast<std::uint64_t>(step) + k);
      Reference& r = reference[k];
      for (std::size_t i = 0; p.trainable && i < g.size(); ++i) {
        const double gi = scale * g[i];
        r.m[i] = 0.8 * r.m[i] + 0.2 * gi;
        r.v[i] = 0.9 * r.v[i] + 0.1 * gi * gi;
        if (p.decay) r.w[i] *= 1 - rate * 0.2;
        r.w[i] -= rate * (r.m[i] / (1 - std::pow(0.8, step))) / (std::sqrt(r.v[i] / (1 - std::pow(0.9, step))) + 1e-3);
      }
    }
    adam.step(s.params, most, scale, step);
    for (std::size_t k = 0; k < reference.size(); ++k) {
      const ParamInfo& p = s.params.infos()[k];
      EXPECT_TRUE(test::all_near(s.params.slice(p, s.params.values(p.owner)), reference[k].w, 1e-14)) << p.name << ", step " << step;
      EXPECT_TRUE(test::all_near(s.params.slice(p, adam.first(p.owner)), reference[k].m, 1e-14)) << p.name;
      EXPECT_TRUE(test::all_near(s.params.slice(p, adam.second(p.owner)), reference[k].v, 1e-14)) << p.name;
    }
  }
}

TEST(Adam, GoesOnForAnExpertWithoutTokens) {
  Sample s;
  Adam adam(s.config, s.params);
  const ParamInfo& expert = *s.params.find("expert");
  test::fill_normal(s.gradient(expert), 1);
  adam.step(s.params, 0.1, 1, 1);
  const std::vector<real> before(s.params.values(Owner::expert).begin(), s.params.values(Owner::expert).end());
  s.params.zero_grads();
  adam.step(s.params, 0.1, 1, 2);
  for (i64 i = 0; i < expert.size(); ++i) EXPECT_NE(s.params.values(Owner::expert)[static_cast<std::size_t>(i)], before[static_cast<std::size_t>(i)]);
}

}  // namespace
}  // namespace pleiad::train
