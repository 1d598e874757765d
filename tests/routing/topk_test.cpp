// Top-k on probabilities chosen by hand.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

const Rows k_p = {{0.1, 0.4, 0.2, 0.3}, {0.7, 0.05, 0.15, 0.1}};

TEST(TopK, WithOneChoiceKeepsTheProbabilityAsWeight) {
  HandMade router("topk", {}, 4);
  const auto trace = router.route(k_p);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{1}));
  EXPECT_EQ(experts_of(*trace, 1), (Experts{0}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.4}));
  EXPECT_TRUE(weights_are(*trace, 1, {0.7}));
}

TEST(TopK, WithSeveralChoicesSharesTheirMassUnlessToldOtherwise) {
  HandMade shared("topk", {{"k", "2"}}, 4), raw("topk", {{"k", "2"}, {"renormalize", "false"}}, 4);
  const auto share = shared.route(k_p), plain = raw.route(k_p);
  EXPECT_EQ(experts_of(*share, 0), (Experts{1, 3}));
  EXPECT_EQ(experts_of(*share, 1), (Experts{0, 2}));
  EXPECT_TRUE(weights_are(*share, 0, {0.4 / 0.7, 0.3 / 0.7}));
  EXPECT_TRUE(weights_are(*share, 1, {0.7 / 0.85, 0.15 / 0.85}));
  EXPECT_EQ(plain->assignment.expert, share->assignment.expert);
  EXPECT_TRUE(weights_are(*plain, 0, {0.4, 0.3}));
  EXPECT_TRUE(weights_are(*plain, 1, {0.7, 0.15}));
}

TEST(TopK, WithOneRenormalisedChoiceWeighsOne) {
  HandMade router("topk", {{"renormalize", "true"}}, 4);
  EXPECT_EQ(weights_of(*router.route(k_p), 0), (std::vector<real>{1}));
}

TEST(TopK, WithAllExpertsGivesTheWholeSoftmaxInOrder) {
  HandMade router("topk", {{"k", "4"}}, 4);
  const auto trace = router.route(k_p);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{1, 3, 2, 0}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.4, 0.3, 0.2, 0.1}));
}

TEST(TopK, GivesEqualProbabilitiesToTheLowerExpertNumber) {
  HandMade router("topk", {{"k", "2"}}, 4);
  EXPECT_EQ(experts_of(*router.route({{0.25, 0.25, 0.25, 0.25}}), 0), (Experts{0, 1}));
}

TEST(TopK, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("topk", {{"k", "5"}}, {"moe.k = 5", "moe.experts is 4"}));
  EXPECT_TRUE(refused("topk", {{"k", "0"}}, {"moe.k = 0"}));
  EXPECT_TRUE(refused("topk", {{"renormalize", "perhaps"}}, {"moe.renormalize = perhaps"}));
  EXPECT_TRUE(refused("topk", {{"p", "0.5"}}, {"moe.p"}));
}

}  // namespace
}  // namespace pleiad::routing
