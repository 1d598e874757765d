// The trivial router: one expert, weight one, nothing to learn.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

TEST(Dense, SendsEveryTokenToTheOneExpertWithWeightOne) {
  HandMade router("dense", {}, 1);
  const auto trace = router.route({{0.3}, {0.7}, {1}});
  EXPECT_EQ(trace->assignment.offset, (std::vector<i64>{0, 1, 2, 3}));
  EXPECT_EQ(trace->assignment.expert, (Experts{0, 0, 0}));
  EXPECT_EQ(trace->assignment.weight, (std::vector<real>{1, 1, 1}));
  EXPECT_EQ(trace->assignment.kept, (std::vector<std::uint8_t>{1, 1, 1}));
  EXPECT_TRUE(trace->losses.empty());
  EXPECT_EQ(router.params().count(), 0);
}

TEST(Dense, GivesPaddingNothing) {
  HandMade router("dense", {}, 1);
  const std::vector<std::uint8_t> real_tokens = {1, 0, 1};
  const auto trace = router.route({{1}, {1}, {1}}, 0, [&](RoutingContext& c) { c.real_tokens = real_tokens, c.real_in_batch = 2; });
  EXPECT_EQ(counts_of(*trace), (std::vector<i64>{1, 0, 1}));
}

TEST(Dense, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("dense", {}, {"moe.experts = 4", "1 expert"}));
  EXPECT_TRUE(refused("dense", {{"k", "1"}}, {"moe.k"}, 1));
}

}  // namespace
}  // namespace pleiad::routing
