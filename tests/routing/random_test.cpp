// Random routing: fresh in every step of training, always the same in evaluation, every expert as often as any other.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

std::unique_ptr<RouterTrace> drawn(const Keys& keys, i64 tokens, i64 experts, i64 step, bool training, std::uint64_t seed = 5, i64 layer = 2) {
  HandMade router("random", keys, experts);
  return router.route_scores(Rows(static_cast<std::size_t>(tokens), std::vector<double>(static_cast<std::size_t>(experts), 0)), 0,
                             [&](RoutingContext& c) { c.step = step, c.training = training, c.seed = seed, c.layer = layer; });
}

double agreement(const RouterTrace& a, const RouterTrace& b) {
  double same = 0;
  for (std::size_t i = 0; i < a.assignment.expert.size(); ++i) same += a.assignment.expert[i] == b.assignment.expert[i];
  return same / static_cast<double>(a.assignment.expert.size());
}

// Independent draws of one among eight agree on 0.125 of 4000 tokens, standard deviation 0.005.
TEST(Random, IsDrawnAnewForEveryStepSeedAndLayer) {
  const auto trace = drawn({}, 4000, 8, 3, true);
  EXPECT_EQ(agreement(*trace, *drawn({}, 4000, 8, 3, true)), 1) << "the same step again is the same draw";
  EXPECT_NEAR(agreement(*trace, *drawn({}, 4000, 8, 4, true)), 0.125, 0.03);
  EXPECT_NEAR(agreement(*trace, *drawn({}, 4000, 8, 3, true, 6)), 0.125, 0.03);
  EXPECT_NEAR(agreement(*trace, *drawn({}, 4000, 8, 3, true, 5, 3)), 0.125, 0.03);
}

TEST(Random, InEvaluationDependsOnNeitherStepNorSeed) {
  const auto trace = drawn({{"k", "2"}}, 300, 8, 3, false);
  EXPECT_EQ(agreement(*trace, *drawn({{"k", "2"}}, 300, 8, 700, false, 99)), 1);
}

TEST(Random, TakesEveryExpertAsOftenInEveryChoiceAndNoneTwice) {
  for (const bool training : {true, false}) {
    const i64 tokens = 20000, experts = 8, k = 3;
    const auto trace = drawn({{"k", "3"}}, tokens, experts, 3, training);
    std::vector<i64> count(static_cast<std::size_t>(k * experts), 0);
    for (i64 t = 0; t < tokens; ++t) {
      const std::int32_t* e = trace->assignment.expert.data() + t * k;
      EXPECT_TRUE(e[0] != e[1] && e[1] != e[2] && e[0] != e[2]) << "token " << t;
      for (i64 i = 0; i < k; ++i) ++count[i * experts + e[i]];
    }
    // 2500 expected, standard deviation 47.
    for (const i64 n : count) EXPECT_NEAR(static_cast<double>(n), 2500, 235);
  }
}

TEST(Random, WeighsItsExpertsEvenlyAndCanTakeAll) {
  const auto trace = drawn({{"k", "4"}}, 5, 4, 1, true);
  for (i64 t = 0; t < 5; ++t) {
    EXPECT_EQ(weights_of(*trace, t), (std::vector<real>(4, 0.25f)));
    Experts e = experts_of(*trace, t);
    std::ranges::sort(e);
    EXPECT_EQ(e, (Experts{0, 1, 2, 3}));
  }
}

TEST(Random, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("random", {{"k", "5"}}, {"moe.k = 5", "moe.experts is 4"}));
  EXPECT_TRUE(refused("random", {{"k", "0"}}, {"moe.k = 0"}));
  EXPECT_TRUE(refused("random", {{"renormalize", "false"}}, {"moe.renormalize"}));
}

}  // namespace
}  // namespace pleiad::routing
