// Sigmoid scores with a balancing bias: choice, weights and the update of the bias, on scores 0.75, 0.5 and 0.25 chosen by hand.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

const std::vector<double> k_z = {std::log(3.0), 0, -std::log(3.0)};  // sigmoids 0.75, 0.5, 0.25
const auto k_unchanged = [](RoutingContext&) {};

void set_bias(HandMade& router, std::vector<real> bias) { std::ranges::copy(bias, router.values("layer/router/bias").begin()); }
std::vector<real> bias_of(HandMade& router) {
  const auto b = router.values("layer/router/bias");
  return {b.begin(), b.end()};
}

TEST(SigmoidBias, WithoutABiasTakesTheBestScoresAndSharesThem) {
  HandMade router("sigmoid_bias", {{"k", "2"}}, 3);
  const auto trace = router.route_scores({k_z}, 0, k_unchanged);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{0, 1}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.6, 0.4}));
}

TEST(SigmoidBias, ChangesTheChoiceButNotTheWeight) {
  HandMade router("sigmoid_bias", {{"k", "2"}}, 3);
  set_bias(router, {-0.6f, 0, 0});  // 0.15, 0.5, 0.25
  auto trace = router.route_scores({k_z}, 0, k_unchanged);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{1, 2}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.5 / 0.75, 0.25 / 0.75}));
  set_bias(router, {-0.4f, -0.3f, 0.4f});  // 0.35, 0.2, 0.65: in the order of the biased scores
  trace = router.route_scores({k_z}, 0, k_unchanged);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{2, 0}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.25, 0.75}));
  EXPECT_TRUE(test::all_near(trace->logits.flat(), k_z, 1e-6)) << "the bias is no part of the scores";
}

TEST(SigmoidBias, GateScaleMultipliesTheWeights) {
  HandMade router("sigmoid_bias", {{"k", "2"}, {"gate_scale", "2.5"}}, 3);
  EXPECT_TRUE(weights_are(*router.route_scores({k_z}, 0, k_unchanged), 0, {1.5, 1}));
}

/// The bias after one update; every token of `best` takes that expert.
std::vector<real> updated(const Keys& keys, const std::vector<int>& best, std::vector<real> before) {
  HandMade router("sigmoid_bias", keys, 3);
  Rows z;
  for (const int e : best) {
    z.push_back({0, 0, 0});
    z.back()[static_cast<std::size_t>(e)] = 4;
  }
  const LaneLayout lanes{1, 1, static_cast<i64>(best.size()), 1, 0};
  const auto trace = router.route_scores(z, 0, k_unchanged);
  set_bias(router, std::move(before));
  router.router().update_buffers(router.params(), *trace, {router.world(), lanes});
  return bias_of(router);
}

TEST(SigmoidBias, MovesAgainstTheLoadAndNotAtAllAtTheMean) {
  const Keys keys = {{"bias_rate", "0.125"}};
  EXPECT_EQ(updated(keys, {0, 1, 0}, {0, 0, 0}), (std::vector<real>{-0.125f, 0, 0.125f})) << "loads 2, 1, 0 of mean 1";
  EXPECT_EQ(updated(keys, {0, 1, 0}, {0.5f, -2, 1}), (std::vector<real>{0.375f, -2, 1.125f}));
  EXPECT_EQ(updated(keys, {0, 1, 2}, {0.5f, 0.25f, 0}), (std::vector<real>{0.5f, 0.25f, 0})) << "even loads";
  EXPECT_EQ(updated(keys, {2, 2, 2, 2}, {0, 0, 0}), (std::vector<real>{0.125f, 0.125f, -0.125f})) << "steps of one size";
  EXPECT_EQ(updated({{"bias_rate", "0"}}, {2, 2, 2}, {0, 0, 0}), (std::vector<real>{0, 0, 0}));
}

TEST(SigmoidBias, CountsTheLoadBeforeTheCapacity) {
  // C = ceil(0.3 * 6 / 3) = 1: kept loads are even, wanted ones are 4, 1, 1 of mean 2.
  const Keys keys = {{"bias_rate", "0.125"}, {"capacity_factor", "0.3"}};
  EXPECT_EQ(updated(keys, {0, 0, 0, 0, 1, 2}, {0, 0, 0}), (std::vector<real>{-0.125f, 0.125f, 0.125f}));
}

TEST(SigmoidBias, IsNeitherTrainedNorDecayed) {
  HandMade router("sigmoid_bias", {}, 3);
  const ParamInfo* bias = router.params().find("layer/router/bias");
  ASSERT_NE(bias, nullptr);
  EXPECT_FALSE(bias->trainable);
  EXPECT_FALSE(bias->decay);
  EXPECT_EQ(bias->init.kind, Init::Kind::zeros);
}

TEST(SigmoidBias, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("sigmoid_bias", {{"k", "5"}}, {"moe.k = 5", "moe.experts is 4"}));
  EXPECT_TRUE(refused("sigmoid_bias", {{"gate_scale", "-1"}}, {"moe.gate_scale = -1"}));
  EXPECT_TRUE(refused("sigmoid_bias", {{"bias_rate", "-0.1"}}, {"moe.bias_rate = -0.1"}));
  EXPECT_TRUE(refused("sigmoid_bias", {{"renormalize", "true"}}, {"moe.renormalize"}));
}

}  // namespace
}  // namespace pleiad::routing
