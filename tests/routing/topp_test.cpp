// Top-p on probabilities chosen by hand: which experts the walk down the sorted probabilities takes, and their weights.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

TEST(TopP, TakesExpertsUntilTheMassIsReachedAndSharesIt) {
  HandMade router("topp", {{"p", "0.6"}}, 4);
  // Masses before each expert of the second token: 0, 0.4, 0.7.
  const auto trace = router.route({{0.05, 0.1, 0.7, 0.15}, {0.2, 0.4, 0.1, 0.3}, {0.26, 0.24, 0.27, 0.23}});
  EXPECT_EQ(experts_of(*trace, 0), (Experts{2})) << "the best one alone has the mass";
  EXPECT_EQ(experts_of(*trace, 1), (Experts{1, 3}));
  EXPECT_EQ(experts_of(*trace, 2), (Experts{2, 0, 1}));
  EXPECT_EQ(weights_of(*trace, 0), (std::vector<real>{1})) << "renormalised also when alone";
  EXPECT_TRUE(weights_are(*trace, 1, {0.4 / 0.7, 0.3 / 0.7}));
  EXPECT_TRUE(weights_are(*trace, 2, {0.27 / 0.77, 0.26 / 0.77, 0.24 / 0.77}));
}

// Quarters are exact: the mass before the third expert is one half.
TEST(TopP, StopsWhereTheMassBeforeAnExpertEqualsP) {
  const Rows even = {{0.25, 0.25, 0.25, 0.25}};
  for (const auto& [p, experts] : {std::pair{"0.5", 2}, {"0.51", 3}, {"0.49", 2}, {"0.25", 1}, {"0.26", 2}, {"0.75", 3}, {"0.76", 4}}) {
    HandMade router("topp", {{"p", p}}, 4);
    EXPECT_EQ(counts_of(*router.route(even)), (std::vector<i64>{experts})) << "p = " << p;
  }
}

TEST(TopP, OfZeroIsTheBestExpertAndOfOneAllOfThem) {
  const Rows p = {{0.1, 0.2, 0.3, 0.4}, {1 - 3e-9, 1e-9, 1e-9, 1e-9}};
  HandMade none("topp", {{"p", "0"}}, 4), all("topp", {{"p", "1"}}, 4);
  EXPECT_EQ(experts_of(*none.route(p), 0), (Experts{3}));
  EXPECT_EQ(counts_of(*none.route(p)), (std::vector<i64>{1, 1}));
  EXPECT_EQ(counts_of(*all.route(p)), (std::vector<i64>{4, 4})) << "also where the best one rounds to a mass of one";
}

TEST(TopP, DefaultsToThePaperOfHeterogeneousExperts) {
  HandMade plain("topp", {}, 4), given("topp", {{"p", "0.6"}}, 4);
  const Rows p = {{0.2, 0.4, 0.1, 0.3}, {0.15, 0.59, 0.2, 0.06}, {0.61, 0.29, 0.06, 0.04}};
  EXPECT_EQ(counts_of(*plain.route(p)), (std::vector<i64>{2, 2, 1}));
  EXPECT_EQ(plain.route(p)->assignment.expert, given.route(p)->assignment.expert);
}

TEST(TopP, GivesPaddingNoExpert) {
  HandMade router("topp", {}, 2);
  const std::vector<std::uint8_t> real_tokens = {1, 0, 1};
  const auto trace = router.route({{0.5, 0.5}, {0.9, 0.1}, {0.9, 0.1}}, 0, [&](RoutingContext& c) { c.real_tokens = real_tokens, c.real_in_batch = 2; });
  EXPECT_EQ(counts_of(*trace), (std::vector<i64>{2, 0, 1}));
}

TEST(TopP, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("topp", {{"p", "1.5"}}, {"moe.p = 1.5"}));
  EXPECT_TRUE(refused("topp", {{"p", "-0.1"}}, {"moe.p = -0.1"}));
  EXPECT_TRUE(refused("topp", {{"p", "much"}}, {"moe.p = much"}));
  EXPECT_TRUE(refused("topp", {{"k", "2"}}, {"moe.k"}));
}

}  // namespace
}  // namespace pleiad::routing
