// Hash routing: the experts of a token follow from its number and the layer, and from nothing else.
#include <numeric>

#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

std::unique_ptr<RouterTrace> hashed(const Keys& keys, const std::vector<std::int32_t>& ids, i64 experts, i64 layer = 2, std::uint64_t seed = 5, i64 step = 3,
                                    bool training = true) {
  HandMade router("hash", keys, experts);
  return router.route_scores(Rows(ids.size(), std::vector<double>(static_cast<std::size_t>(experts), 0)), 0, [&](RoutingContext& c) {
    c.token_ids = ids;
    c.layer = layer, c.seed = seed, c.step = step, c.training = training;
  });
}

std::vector<std::int32_t> first_ids(i64 count) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

TEST(Hash, GivesTheSameTokenTheSameExpertsWhereverItStands) {
  const auto trace = hashed({{"k", "2"}}, {7, 3, 7, 40, 3, 7}, 6);
  EXPECT_EQ(experts_of(*trace, 0), experts_of(*trace, 2));
  EXPECT_EQ(experts_of(*trace, 0), experts_of(*trace, 5));
  EXPECT_EQ(experts_of(*trace, 1), experts_of(*trace, 4));
  EXPECT_EQ(weights_of(*trace, 0), (std::vector<real>{0.5f, 0.5f}));
}

TEST(Hash, DoesNotDependOnSeedStepOrTraining) {
  const auto ids = first_ids(100);
  const auto trace = hashed({{"k", "2"}}, ids, 6), other = hashed({{"k", "2"}}, ids, 6, 2, 99, 77, false);
  EXPECT_EQ(trace->assignment.expert, other->assignment.expert);
}

TEST(Hash, DiffersByLayerAndByItsOwnSeed) {
  const auto ids = first_ids(1000);
  const auto here = hashed({}, ids, 8, 2), next = hashed({}, ids, 8, 3), reseeded = hashed({{"hash_seed", "2"}}, ids, 8, 2);
  // Independent maps agree on one in eight: 125 of 1000, standard deviation 10.5.
  for (const auto* other : {&next, &reseeded}) {
    i64 agree = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) agree += here->assignment.expert[t] == (*other)->assignment.expert[t];
    EXPECT_NEAR(static_cast<double>(agree), 125, 50);
  }
  EXPECT_EQ(hashed({{"hash_seed", "1"}}, ids, 8)->assignment.expert, here->assignment.expert) << "1 is the default";
}

TEST(Hash, SpreadsTokensEvenlyInEveryChoiceAndGivesDifferentExperts) {
  const i64 tokens = 20000, experts = 8, k = 3;
  const auto trace = hashed({{"k", "3"}}, first_ids(tokens), experts);
  std::vector<i64> count(static_cast<std::size_t>(k * experts), 0);
  for (i64 t = 0; t < tokens; ++t) {
    const Experts e = experts_of(*trace, t);
    ASSERT_EQ(e.size(), 3u);
    EXPECT_TRUE(e[0] != e[1] && e[1] != e[2] && e[0] != e[2]) << "token " << t;
    for (i64 i = 0; i < k; ++i) ++count[i * experts + e[i]];
  }
  // 2500 expected, standard deviation 47.
  for (const i64 n : count) EXPECT_NEAR(static_cast<double>(n), 2500, 235);
}

TEST(Hash, NeedsTokenNumbers) {
  HandMade router("hash", {}, 4);
  EXPECT_THROW(router.route({{0.25, 0.25, 0.25, 0.25}}), LogicError);
}

TEST(Hash, HasNothingToTrain) {
  HandMade router("hash", {}, 4);
  EXPECT_EQ(router.params().count(), 0);
  EXPECT_TRUE(router.router().causal());
}

TEST(Hash, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("hash", {{"k", "5"}}, {"moe.k = 5", "moe.experts is 4"}));
  EXPECT_TRUE(refused("hash", {{"hash_seed", "-1"}}, {"moe.hash_seed = -1"}));
  EXPECT_TRUE(refused("hash", {{"balance_loss", "0.1"}}, {"moe.balance_loss"}));
}

}  // namespace
}  // namespace pleiad::routing
