// Threshold routing on probabilities chosen by hand.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

const Rows k_p = {{0.05, 0.1, 0.7, 0.15}, {0.2, 0.4, 0.1, 0.3}, {0.92, 0.02, 0.03, 0.03}};

TEST(Threshold, TakesTheFewestExpertsThatReachItWithRawWeights) {
  HandMade router("threshold", {{"threshold", "0.8"}}, 4);
  const auto trace = router.route(k_p);
  EXPECT_EQ(experts_of(*trace, 0), (Experts{2, 3}));
  EXPECT_EQ(experts_of(*trace, 1), (Experts{1, 3, 0}));
  EXPECT_EQ(experts_of(*trace, 2), (Experts{0}));
  EXPECT_TRUE(weights_are(*trace, 0, {0.7, 0.15}));
  EXPECT_TRUE(weights_are(*trace, 1, {0.4, 0.3, 0.2}));
  EXPECT_TRUE(weights_are(*trace, 2, {0.92})) << "not renormalised: the router keeps its gradient";
}

TEST(Threshold, SharesTheMassIfRenormalised) {
  HandMade router("threshold", {{"threshold", "0.8"}, {"renormalize", "true"}}, 4);
  const auto trace = router.route(k_p);
  EXPECT_TRUE(weights_are(*trace, 0, {0.7 / 0.85, 0.15 / 0.85}));
  EXPECT_TRUE(weights_are(*trace, 1, {0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9}));
  EXPECT_TRUE(weights_are(*trace, 2, {1}));
}

TEST(Threshold, OfZeroIsSwitchAndOfOneIsEveryExpert) {
  HandMade zero("threshold", {{"threshold", "0"}}, 4), one("threshold", {{"threshold", "1"}}, 4);
  HandMade top("topk", {}, 4), every("topk", {{"k", "4"}, {"renormalize", "false"}}, 4);
  const auto least = zero.route(k_p), switched = top.route(k_p), most = one.route(k_p), all = every.route(k_p);
  EXPECT_EQ(least->assignment.expert, switched->assignment.expert);
  EXPECT_EQ(least->assignment.weight, switched->assignment.weight);
  EXPECT_EQ(most->assignment.expert, all->assignment.expert);
  EXPECT_EQ(most->assignment.weight, all->assignment.weight);
}

TEST(Threshold, ExactlyReachedIsReached) {
  const Rows even = {{0.25, 0.25, 0.25, 0.25}};
  for (const auto& [threshold, experts] : {std::pair{"0.25", 1}, {"0.5", 2}, {"0.501", 3}, {"0.75", 3}}) {
    HandMade router("threshold", {{"threshold", threshold}}, 4);
    EXPECT_EQ(counts_of(*router.route(even)), (std::vector<i64>{experts})) << threshold;
  }
}

TEST(Threshold, CapacityHoldsAtLeastTheMinimumAndPrefersProbability) {
  // All five tokens want expert 0 first; C = max(2, ceil(0.1 * 5 / 2)) = 2.
  HandMade router("threshold", {{"threshold", "0"}, {"capacity_factor", "0.1"}, {"min_capacity", "2"}, {"capacity_order", "probability"}}, 2);
  const auto trace = router.route({{0.6, 0.4}, {0.9, 0.1}, {0.7, 0.3}, {0.8, 0.2}, {0.55, 0.45}});
  EXPECT_EQ(trace->assignment.kept, (std::vector<std::uint8_t>{0, 1, 0, 1, 0}));
}

TEST(Threshold, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("threshold", {{"threshold", "1.5"}}, {"moe.threshold = 1.5"}));
  EXPECT_TRUE(refused("threshold", {{"threshold", "-1"}}, {"moe.threshold = -1"}));
  EXPECT_TRUE(refused("threshold", {{"capacity_order", "size"}}, {"moe.capacity_order = size", "probability"}));
  EXPECT_TRUE(refused("threshold", {{"k", "2"}}, {"moe.k"}));
}

}  // namespace
}  // namespace pleiad::routing
