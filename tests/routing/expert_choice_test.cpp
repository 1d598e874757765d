// Expert choice on probabilities chosen by hand: quotas, tokens without and with several experts, groups of one position.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

// Columns: 0 likes tokens 0 and 1; 1 likes 3 and 2; 2 likes 5 and 3. Nobody wants token 4.
const Rows k_p = {{0.8, 0.1, 0.1}, {0.7, 0.2, 0.1}, {0.4, 0.5, 0.1}, {0.05, 0.6, 0.35}, {0.35, 0.4, 0.25}, {0.3, 0.3, 0.4}};

TEST(ExpertChoice, EveryExpertTakesItsQuotaOfTheBestTokens) {
  HandMade router("expert_choice", {{"choices", "1"}}, 3);
  const auto trace = router.route(k_p);
  EXPECT_EQ(count_per_expert(trace->assignment, false), (std::vector<i64>{2, 2, 2})) << "1 * 6 / 3 each";
  EXPECT_EQ(counts_of(*trace), (std::vector<i64>{1, 1, 1, 2, 0, 1})) << "one token has none, one has two";
  EXPECT_EQ(experts_of(*trace, 3), (Experts{1, 2})) << "best probability first";
  EXPECT_TRUE(weights_are(*trace, 3, {0.6, 0.35})) << "raw";
  EXPECT_TRUE(weights_are(*trace, 5, {0.4}));
}

TEST(ExpertChoice, QuotaIsChoicesTimesTokensOverExpertsAtLeastOneAtMostAll) {
  for (const auto& [choices, quota] : {std::pair{"2", 4}, {"0.5", 1}, {"0.01", 1}, {"3", 6}, {"100", 6}, {"1.4", 3}}) {
    HandMade router("expert_choice", {{"choices", choices}}, 3);
    EXPECT_EQ(count_per_expert(router.route(k_p)->assignment, false), (std::vector<i64>(3, quota))) << "choices = " << choices;
  }
  HandMade standard("expert_choice", {}, 3);
  EXPECT_EQ(count_per_expert(standard.route(k_p)->assignment, false), (std::vector<i64>{4, 4, 4})) << "two choices unless told otherwise";
}

TEST(ExpertChoice, EqualProbabilitiesGoToTheEarlierToken) {
  HandMade router("expert_choice", {{"choices", "1"}}, 2);
  EXPECT_EQ(counts_of(*router.route({{0.5, 0.5}, {0.5, 0.5}, {0.5, 0.5}, {0.5, 0.5}})), (std::vector<i64>{2, 2, 0, 0}));
}

TEST(ExpertChoice, OfGroupsComparesTokensOfOnePositionOnly) {
  // Two sequences of two tokens. Position 0: tokens 0 and 2; position 1: tokens 1 and 3.
  const Rows p = {{0.9, 0.1}, {0.4, 0.6}, {0.8, 0.2}, {0.3, 0.7}};
  HandMade batch("expert_choice", {{"choices", "1"}}, 2), position("expert_choice", {{"choices", "1"}, {"choice_group", "position"}}, 2);
  EXPECT_EQ(batch.route(p, 2)->assignment.expert, (Experts{0, 1, 0, 1}));
  EXPECT_EQ(position.route(p, 2)->assignment.expert, (Experts{0, 0, 1, 1}));
  EXPECT_FALSE(batch.router().causal());
  EXPECT_TRUE(position.router().causal());
}

TEST(ExpertChoice, PaddingIsNotChosenAndNotCounted) {
  HandMade router("expert_choice", {{"choices", "1"}}, 2);
  const std::vector<std::uint8_t> real_tokens = {1, 0, 0, 1};
  const auto trace = router.route({{0.9, 0.1}, {0.99, 0.01}, {0.01, 0.99}, {0.2, 0.8}}, 0,
                                  [&](RoutingContext& c) { c.real_tokens = real_tokens, c.real_in_batch = 2; });
  EXPECT_EQ(trace->assignment.expert, (Experts{0, 1}));
  EXPECT_EQ(counts_of(*trace), (std::vector<i64>{1, 0, 0, 1}));
}

TEST(ExpertChoice, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("expert_choice", {{"choices", "-1"}}, {"moe.choices = -1"}));
  EXPECT_TRUE(refused("expert_choice", {{"choice_group", "sequence"}}, {"moe.choice_group = sequence", "batch", "position"}));
  EXPECT_TRUE(refused("expert_choice", {{"k", "2"}}, {"moe.k"}));
}

}  // namespace
}  // namespace pleiad::routing
