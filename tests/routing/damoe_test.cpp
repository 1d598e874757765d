// Attention-driven numbers of experts on attention maps worked out by hand. Four experts; map entries are exact in binary.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

const Rows k_p = {{0.1, 0.4, 0.2, 0.3}, {0.1, 0.4, 0.2, 0.3}, {0.1, 0.4, 0.2, 0.3}};
// Largest of the rows 0.75, 0.5, 0.625 (mean 0.625); of the columns 0.25, 0.75, 0.25; sums of the columns 0.625, 1.875, 0.5.
const std::vector<double> k_map = {0.125, 0.75, 0.125, 0.25, 0.5, 0.25, 0.25, 0.625, 0.125};

struct Routed {
  std::vector<i64> counts;
  std::vector<double> importance;
  std::unique_ptr<RouterTrace> trace;
};

/// Routes sequences of three tokens; the maps stand one after the other, heads of a sequence together.
Routed routed(const Keys& keys, const std::vector<double>& maps, i64 heads = 1, std::vector<std::uint8_t> real_tokens = {}) {
  HandMade router("damoe", keys, 4);
  const i64 rows = static_cast<i64>(maps.size()) / 3, sequences = rows / 3 / heads;
  Matrix attention(rows, 3);
  for (std::size_t i = 0; i < maps.size(); ++i) attention.flat()[i] = static_cast<real>(maps[i]);
  Rows p;
  for (i64 s = 0; s < sequences; ++s) p.insert(p.end(), k_p.begin(), k_p.end());
  auto trace = router.route(p, 3, [&](RoutingContext& c) {
    c.attention = {attention, heads};
    c.real_tokens = real_tokens;
    if (!real_tokens.empty()) c.real_in_batch = std::ranges::count(real_tokens, 1);
  });
  return {counts_of(*trace), trace->importance, std::move(trace)};
}

TEST(DaMoe, LiteralRuleOnTheLargestWeightOfTheRow) {
  const Routed r = routed({}, k_map);
  EXPECT_EQ(r.importance, (std::vector<double>{0.75, 0.5, 0.625}));
  EXPECT_EQ(r.counts, (std::vector<i64>{3, 2, 3})) << "ceil of 3, 2, 2.5";
  EXPECT_EQ(experts_of(*r.trace, 0), (Experts{1, 3, 2}));
  EXPECT_EQ(experts_of(*r.trace, 1), (Experts{1, 3}));
  EXPECT_TRUE(weights_are(*r.trace, 1, {0.4 / 0.7, 0.3 / 0.7}));
}

TEST(DaMoe, LiteralRuleOnTheLargestWeightReceived) {
  const Routed r = routed({{"importance", "received"}}, k_map);
  EXPECT_EQ(r.importance, (std::vector<double>{0.25, 0.75, 0.25}));
  EXPECT_EQ(r.counts, (std::vector<i64>{1, 3, 1}));
}

TEST(DaMoe, LiteralRuleOnTheMeanWeightReceivedOverTheLargestSuchMean) {
  const Routed r = routed({{"importance", "column"}}, k_map);
  EXPECT_TRUE(test::all_near(r.importance, std::vector<double>{0.625 / 1.875, 1, 0.5 / 1.875}, 1e-12));
  EXPECT_EQ(r.counts, (std::vector<i64>{2, 4, 2})) << "ceil of 1.33, 4, 1.07";
}

TEST(DaMoe, BudgetRuleSharesTheMeanOutInProportion) {
  EXPECT_EQ(routed({{"k_rule", "budget"}, {"k_mean", "3"}}, k_map).counts, (std::vector<i64>{4, 2, 3})) << "3.6, 2.4 and 3 rounded";
  EXPECT_EQ(routed({{"k_rule", "budget"}}, k_map).counts, (std::vector<i64>{2, 2, 2})) << "2.4, 1.6 and 2 rounded";
  EXPECT_EQ(routed({{"k_rule", "budget"}, {"importance", "received"}}, k_map).counts, (std::vector<i64>{1, 4, 1})) << "1.2, 3.6, 1.2 rounded";
}

TEST(DaMoe, BudgetIsThatOfEachSequenceByItself) {
  std::vector<double> maps = k_map;
  for (const double x : k_map) maps.push_back(x / 4);  // less attention, the same proportions
  EXPECT_EQ(routed({{"k_rule", "budget"}, {"k_mean", "3"}}, maps).counts, (std::vector<i64>{4, 2, 3, 4, 2, 3}));
}

TEST(DaMoe, CausalRulePutsTheRowOnALogarithmicScale) {
  // Second token: a = 1 + ln 0.75 / ln 2 = 0.585, then 1 + ln 0.5 / ln 2 = 0. Third token: 1 + ln 0.5 / ln 3 = 0.369, then 1.
  const Routed r = routed({{"k_rule", "causal"}}, {1, 0, 0, 0.25, 0.75, 0, 0.25, 0.5, 0.25, 1, 0, 0, 0.5, 0.5, 0, 0, 0, 1});
  EXPECT_TRUE(test::all_near(r.importance, std::vector<double>{0, 0.5849625007, 0.3690702464, 0, 0, 1}, 1e-9));
  EXPECT_EQ(r.counts, (std::vector<i64>{1, 3, 2, 1, 1, 4})) << "the first token has no choice of keys and gets one expert";
}

TEST(DaMoe, LiteralRuleFavoursEarlyTokensOfACausalModel) {
  EXPECT_EQ(routed({}, {1, 0, 0, 0.5, 0.5, 0, 0.375, 0.25, 0.375}).counts, (std::vector<i64>{4, 2, 2}));
}

TEST(DaMoe, TakesTheMeanOverHeadsOfEachHeadsLargest) {
  std::vector<double> maps = k_map;
  const double second[] = {1, 0, 0, 0, 0, 1, 0, 0, 1};
  maps.insert(maps.end(), std::begin(second), std::end(second));
  EXPECT_EQ(routed({}, maps, 2).importance, (std::vector<double>{0.875, 0.75, 0.8125}));
  EXPECT_EQ(routed({{"importance", "received"}}, maps, 2).importance, (std::vector<double>{0.625, 0.375, 0.625}));
  // Sums of the columns over both heads: 1.625, 1.875, 2.5.
  EXPECT_TRUE(test::all_near(routed({{"importance", "column"}}, maps, 2).importance, std::vector<double>{0.65, 0.75, 1}, 1e-12));
}

TEST(DaMoe, IsClampedToOneAndToKMax) {
  EXPECT_EQ(routed({{"k_max", "2"}}, k_map).counts, (std::vector<i64>{2, 2, 2}));
  EXPECT_EQ(routed({{"k_max", "3"}, {"importance", "column"}}, k_map).counts, (std::vector<i64>{2, 3, 2}));
  EXPECT_EQ(routed({{"k_rule", "budget"}, {"k_mean", "0.1"}}, k_map).counts, (std::vector<i64>{1, 1, 1}));
}

TEST(DaMoe, KeepsTheRawWeightOfASingleExpertUnlessToldOtherwise) {
  const Routed raw = routed({{"importance", "received"}}, k_map), one = routed({{"importance", "received"}, {"raw_if_single", "false"}}, k_map);
  EXPECT_TRUE(weights_are(*raw.trace, 0, {0.4}));
  EXPECT_TRUE(weights_are(*raw.trace, 1, {0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9}));
  EXPECT_EQ(weights_of(*one.trace, 0), (std::vector<real>{1}));
  EXPECT_TRUE(weights_are(*one.trace, 1, {0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9}));
}

TEST(DaMoe, LeavesPaddingOutOfMeansAndOfWhatIsReceived) {
  // The third token is padding: its row has nonsense that would change every number if it counted.
  std::vector<double> maps = {0.25, 0.75, 0, 0.5, 0.5, 0, 8, 8, 8};
  const std::vector<std::uint8_t> two = {1, 1, 0};
  EXPECT_EQ(routed({{"k_rule", "budget"}, {"k_mean", "2.25"}}, maps, 1, two).counts, (std::vector<i64>{3, 2, 0})) << "2.7 and 1.8 rounded";
  const Routed received = routed({{"importance", "received"}}, maps, 1, two), column = routed({{"importance", "column"}}, maps, 1, two);
  EXPECT_EQ(received.counts, (std::vector<i64>{2, 3, 0}));
  EXPECT_TRUE(test::all_near(std::vector<double>{column.importance[0], column.importance[1]}, std::vector<double>{0.6, 1}, 1e-12));
  EXPECT_EQ(column.counts, (std::vector<i64>{3, 4, 0}));
}

TEST(DaMoe, SaysWhichRulesAreCausal) {
  const auto causal = [](const Keys& keys) { return HandMade("damoe", keys, 4).router().causal(); };
  EXPECT_TRUE(causal({}));
  EXPECT_TRUE(causal({{"k_rule", "causal"}}));
  EXPECT_FALSE(causal({{"k_rule", "budget"}}));
  EXPECT_FALSE(causal({{"importance", "received"}}));
  EXPECT_FALSE(causal({{"importance", "column"}}));
}

TEST(DaMoe, NeedsAttentionMaps) {
  HandMade router("damoe", {}, 4);
  EXPECT_THROW(router.route(k_p), LogicError);
}

TEST(DaMoe, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("damoe", {{"k_rule", "causal"}, {"importance", "column"}}, {"moe.k_rule = causal", "moe.importance", "column"}));
  EXPECT_TRUE(refused("damoe", {{"k_rule", "causal"}, {"importance", "received"}}, {"moe.k_rule = causal", "moe.importance", "received"}));
  EXPECT_TRUE(refused("damoe", {{"k_rule", "often"}}, {"moe.k_rule = often", "budget"}));
  EXPECT_TRUE(refused("damoe", {{"importance", "rows"}}, {"moe.importance = rows", "received"}));
  EXPECT_TRUE(refused("damoe", {{"k_max", "5"}}, {"moe.k_max = 5"}));
  EXPECT_TRUE(refused("damoe", {{"k_max", "0"}}, {"moe.k_max = 0"}));
  EXPECT_TRUE(refused("damoe", {{"k_rule", "budget"}, {"k_mean", "4.5"}}, {"moe.k_mean = 4.5"}));
  EXPECT_TRUE(refused("damoe", {{"k_mean", "2"}}, {"moe.k_mean"})) << "only the budget rule has a mean";
}

}  // namespace
}  // namespace pleiad::routing
