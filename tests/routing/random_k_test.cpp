// Random numbers of experts: the histogram is met, and nothing but place, step, seed and layer decides.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

struct At {
  i64 step = 3;
  bool training = true;
  std::uint64_t seed = 5;
  i64 layer = 2;
};

std::vector<i64> drawn(const std::string& histogram, i64 tokens, At at = {}, double score = 0) {
  HandMade router("random_k", {{"k_histogram", histogram}}, 4);
  Rows z(static_cast<std::size_t>(tokens), {0, score, 0, 2 * score});
  return counts_of(*router.route_scores(z, 0, [&](RoutingContext& c) { c.step = at.step, c.training = at.training, c.seed = at.seed, c.layer = at.layer; }));
}

std::vector<double> shares(const std::vector<i64>& counts) {
  std::vector<double> share(5, 0);
  for (const i64 k : counts) share[static_cast<std::size_t>(k)] += 1 / static_cast<double>(counts.size());
  return share;
}

// 20000 draws: the standard deviation of a share is at most 0.0036.
TEST(RandomK, MeetsTheHistogram) {
  for (const bool training : {true, false}) {
    const std::vector<double> share = shares(drawn("1,0,2.5,0.5", 20000, {.training = training}));
    EXPECT_NEAR(share[1], 0.25, 0.015);
    EXPECT_EQ(share[0] + share[2], 0) << "no weight, no token";
    EXPECT_NEAR(share[3], 0.625, 0.015);
    EXPECT_NEAR(share[4], 0.125, 0.015);
  }
}

TEST(RandomK, WithOneWeightIsTopK) {
  EXPECT_EQ(drawn("1", 50), (std::vector<i64>(50, 1)));
  EXPECT_EQ(drawn("0,0,7", 50), (std::vector<i64>(50, 3)));
  EXPECT_EQ(drawn("0,1e-12,0,0,0,0", 50), (std::vector<i64>(50, 2))) << "zeros at the end ask for nothing";
  HandMade unset("random_k", {}, 4);
  EXPECT_EQ(counts_of(*unset.route(Rows(3, {0.1, 0.2, 0.3, 0.4}))), (std::vector<i64>(3, 1)));
}

double agreement(const std::vector<i64>& a, const std::vector<i64>& b) {
  double same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) same += a[i] == b[i];
  return same / static_cast<double>(a.size());
}

// Independent draws of four even chances agree on a quarter of 4000 tokens, standard deviation 0.007.
TEST(RandomK, IsDrawnAnewForEveryStepSeedAndLayer) {
  const std::vector<i64> k = drawn("1,1,1,1", 4000);
  EXPECT_EQ(drawn("1,1,1,1", 4000), k) << "the same step again is the same draw";
  EXPECT_NEAR(agreement(k, drawn("1,1,1,1", 4000, {.step = 4})), 0.25, 0.035);
  EXPECT_NEAR(agreement(k, drawn("1,1,1,1", 4000, {.seed = 6})), 0.25, 0.035);
  EXPECT_NEAR(agreement(k, drawn("1,1,1,1", 4000, {.layer = 3})), 0.25, 0.035);
  EXPECT_EQ(drawn("1,1,1,1", 4000, {}, 1.5), k) << "whatever the tokens are";
}

TEST(RandomK, InEvaluationDependsOnNeitherStepNorSeed) {
  EXPECT_EQ(drawn("1,1,1,1", 500, {.training = false}), drawn("1,1,1,1", 500, {.step = 70, .training = false, .seed = 9}));
}

TEST(RandomK, TakesTheMostProbableAndRenormalisesRawIfSingle) {
  const std::vector<double> p = {0.1, 0.4, 0.2, 0.3};
  HandMade two("random_k", {{"k_histogram", "0,1"}}, 4), one("random_k", {{"k_histogram", "1"}}, 4),
      raw("random_k", {{"k_histogram", "0,1"}, {"renormalize", "false"}}, 4), whole("random_k", {{"k_histogram", "1"}, {"raw_if_single", "false"}}, 4);
  EXPECT_EQ(experts_of(*two.route({p}), 0), (Experts{1, 3}));
  EXPECT_TRUE(weights_are(*two.route({p}), 0, {0.4 / 0.7, 0.3 / 0.7}));
  EXPECT_TRUE(weights_are(*one.route({p}), 0, {0.4}));
  EXPECT_TRUE(weights_are(*raw.route({p}), 0, {0.4, 0.3}));
  EXPECT_TRUE(weights_are(*whole.route({p}), 0, {1}));
}

TEST(RandomK, GivesPaddingNothingAndOthersWhatTheyHadWithoutIt) {
  HandMade router("random_k", {{"k_histogram", "1,1,1,1"}}, 4);
  const Rows p(8, {0.1, 0.4, 0.2, 0.3});
  const std::vector<std::uint8_t> real_tokens = {1, 0, 1, 1, 0, 0, 1, 1};
  const std::vector<i64> all = counts_of(*router.route(p)), some = counts_of(*router.route(p, 4, [&](RoutingContext& c) {
    c.real_tokens = real_tokens, c.real_in_batch = 5;
  }));
  for (std::size_t t = 0; t < 8; ++t) EXPECT_EQ(some[t], real_tokens[t] ? all[t] : 0) << "token " << t;
}

TEST(RandomK, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("random_k", {{"k_histogram", "1,1,1,1,0.5"}}, {"moe.k_histogram = 1,1,1,1,0.5", "K = 5", "moe.experts is 4"}));
  EXPECT_TRUE(refused("random_k", {{"k_histogram", "0,0"}}, {"moe.k_histogram = 0,0", "above 0"}));
  EXPECT_TRUE(refused("random_k", {{"k_histogram", "none"}}, {"moe.k_histogram = none", "above 0"}));
  EXPECT_TRUE(refused("random_k", {{"k_histogram", "1,-1"}}, {"moe.k_histogram = 1,-1", "comma-separated"}));
  EXPECT_TRUE(refused("random_k", {{"k_histogram", "1;2"}}, {"moe.k_histogram = 1;2", "comma-separated"}));
  EXPECT_TRUE(refused("random_k", {{"k", "2"}}, {"moe.k"}));
}

}  // namespace
}  // namespace pleiad::routing
