// Noisy top-k against its formulas written as plain loops: scores with given noise, weights, and the load loss.
#include "pleiad/routing/noisy_topk.hpp"

#include <algorithm>

#include "support/router_cases.hpp"

namespace pleiad::routing {
namespace {

constexpr i64 k_width = 6, k_experts = 5, k_chosen = 2;

TEST(NoisyTopK, EqualsItsFormulasOnAnyNumberOfRanks) {
  const comm::Communicator world = comm::Communicator::world();
  const LaneLayout lanes(8, 10, 2, world.size(), world.rank());
  const i64 tokens = lanes.tokens();
  test::RouterUnderTest router(router_variant("noisy_topk"), {{{"k", "2"}, {"load_loss", "0.5"}}, {1, 1, 1, 1, 1}}, k_width);
  const Matrix x = test::normal_matrix(tokens, k_width, 1), noise = test::normal_matrix(tokens, k_experts, 2);
  const Matrix my_noise = test::my_rows(noise, lanes);
  const ParamInfo &w = *router.params.find("layer/router/w"), &w_noise = *router.params.find("layer/router/w_noise");
  const auto product = [&](const ParamInfo& p, i64 t, i64 e) {
    const auto values = router.params.slice(p, router.params.values(p.owner));
    double sum = 0;
    for (i64 j = 0; j < k_width; ++j) sum += static_cast<double>(values[e * k_width + j]) * static_cast<double>(x(t, j));
    return sum;
  };

  const auto trace = router.router->forward(router.params, test::my_rows(x, lanes), {world, lanes, 0, 0, 0, true, my_noise});

  std::vector<double> load(k_experts, 0);
  for (i64 t = 0; t < tokens; ++t) {
    double z[k_experts], spread[k_experts], u[k_experts];
    std::vector<i64> order{0, 1, 2, 3, 4};
    for (i64 e = 0; e < k_experts; ++e) {
      z[e] = product(w, t, e);
      spread[e] = std::log1p(std::exp(product(w_noise, t, e)));
      u[e] = z[e] + static_cast<double>(noise(t, e)) * spread[e];
    }
    std::sort(order.begin(), order.end(), [&](i64 a, i64 b) { return u[a] > u[b]; });
    for (i64 e = 0; e < k_experts; ++e) {
      std::vector<double> others;
      for (i64 o = 0; o < k_experts; ++o) {
        if (o != e) others.push_back(u[o]);
      }
      std::sort(others.rbegin(), others.rend());
      load[e] += 0.5 * std::erfc(-(z[e] - others[k_chosen - 1]) / spread[e] / std::sqrt(2.0));
    }
    const i64 here = t - lanes.first_token();
    if (here < 0 || here >= lanes.my_tokens()) continue;
    const double best = 1 / (1 + std::exp(u[order[1]] - u[order[0]]));
    EXPECT_EQ(trace->assignment.expert[2 * here], order[0]) << "token " << t;
    EXPECT_EQ(trace->assignment.expert[2 * here + 1], order[1]) << "token " << t;
    EXPECT_NEAR(trace->assignment.weight[2 * here], best, 1e-5);
    EXPECT_NEAR(trace->assignment.weight[2 * here + 1], 1 - best, 1e-5);
    for (i64 e = 0; e < k_experts; ++e) EXPECT_NEAR(trace->logits(here, e), z[e], 1e-5) << "logits are without noise";
  }
  double mean = 0, variance = 0;
  for (const double l : load) mean += l / k_experts;
  for (const double l : load) variance += (l - mean) * (l - mean) / k_experts;
  ASSERT_EQ(trace->losses.size(), 1u);
  EXPECT_EQ(trace->losses[0].name, "load");
  EXPECT_EQ(trace->losses[0].coefficient, 0.5);
  EXPECT_NEAR(trace->losses[0].value, variance / (mean * mean), 1e-5);
}

TEST(NoisyTopK, DrawsNewNoiseEveryStepAndNoneInEvaluation) {
  const comm::Communicator world = comm::Communicator::world();
  const LaneLayout lanes(8, 16, 4, world.size(), world.rank());
  test::RouterUnderTest router(router_variant("noisy_topk"), {{{"k", "2"}}, {1, 1, 1, 1, 1}}, k_width);
  const Matrix x = test::normal_matrix(lanes.my_tokens(), k_width, 1);
  const auto weights = [&](i64 step, i64 layer, bool training) {
    return router.router->forward(router.params, x, {world, lanes, 9, layer, step, training})->assignment.weight;
  };
  EXPECT_TRUE(test::same_bits(weights(3, 0, true), weights(3, 0, true)));
  EXPECT_TRUE(test::same_bits(weights(3, 0, false), weights(4, 1, false)));
  if (lanes.my_tokens() == 0) return;
  EXPECT_FALSE(test::same_bits(weights(3, 0, true), weights(4, 0, true)));
  EXPECT_FALSE(test::same_bits(weights(3, 0, true), weights(3, 1, true)));
  EXPECT_FALSE(test::same_bits(weights(3, 0, true), weights(3, 0, false)));
}

}  // namespace
}  // namespace pleiad::routing
