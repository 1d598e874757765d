// Top-k with a mean that is not whole: the counts by hand, over long runs, at any place, and what they depend on.
#include "pleiad/routing/matched_topk.hpp"

#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

const std::vector<double> k_p = {0.1, 0.4, 0.2, 0.3};

std::vector<i64> counts(const Keys& keys, i64 tokens, i64 experts = 4) {
  HandMade router("matched_topk", keys, experts);
  return counts_of(*router.route_scores(Rows(static_cast<std::size_t>(tokens), std::vector<double>(static_cast<std::size_t>(experts), 0)), 0,
                                        [](RoutingContext&) {}));
}

TEST(MatchedTopK, GivesTokensTheDifferencesOfTheRoundedDownMultiples) {
  EXPECT_EQ(counts({{"mean_k", "1.5"}}, 6), (std::vector<i64>{1, 2, 1, 2, 1, 2})) << "floors 0 1 3 4 6 7 9";
  EXPECT_EQ(counts({{"mean_k", "2.25"}}, 8), (std::vector<i64>{2, 2, 2, 3, 2, 2, 2, 3})) << "floors 0 2 4 6 9 11 13 15 18";
  EXPECT_EQ(counts({{"mean_k", "1.75"}}, 8), (std::vector<i64>{1, 2, 2, 2, 1, 2, 2, 2})) << "floors 0 1 3 5 7 8 10 12 14";
}

TEST(MatchedTopK, WithAWholeMeanIsTopK) {
  EXPECT_EQ(counts({}, 5), (std::vector<i64>(5, 1))) << "one expert unless told otherwise";
  EXPECT_EQ(counts({{"mean_k", "3"}}, 5), (std::vector<i64>(5, 3)));
  EXPECT_EQ(counts({{"mean_k", "4"}}, 5), (std::vector<i64>(5, 4))) << "all there are";
}

// For every mean: K is its whole part or one more, and any first n tokens have n mean_k experts, rounded down.
TEST(MatchedTopK, KeepsTheMeanOverEveryRun) {
  for (const double mean : {1.0, 1.001, 1.3, 1.999, 2.5, 3.141592653589793, 5.9, 6.0}) {
    const std::vector<i64> k = counts({{"mean_k", fmt::format("{}", mean)}}, 3000, 6);
    const double rounded = std::round(mean * 1048576) / 1048576;
    i64 sum = 0;
    for (std::size_t i = 0; i < k.size(); ++i) {
      sum += k[i];
      EXPECT_EQ(sum, static_cast<i64>(std::floor(static_cast<double>(i + 1) * rounded))) << mean << " after token " << i;
      EXPECT_TRUE(k[i] >= 1 && k[i] <= static_cast<i64>(std::ceil(mean))) << mean << " at token " << i;
    }
  }
}

// The products wrap around, the counts must not notice: 2.5 gives even tokens 2 and odd tokens 3, 1.75 is one expert at every fourth.
TEST(MatchedTopK, IsExactFarIntoAHugeBatch) {
  HandMade half("matched_topk", {{"mean_k", "2.5"}}, 4), quarter("matched_topk", {{"mean_k", "1.75"}}, 4);
  const auto& two = dynamic_cast<const MatchedTopKRouter&>(half.router());
  const auto& one = dynamic_cast<const MatchedTopKRouter&>(quarter.router());
  for (const i64 far : {i64{1} << 20, i64{1} << 43, i64{1} << 62}) {
    for (i64 i = far - 9; i < far + 9; ++i) {
      EXPECT_EQ(two.experts_for(i), i % 2 ? 3 : 2) << i;
      EXPECT_EQ(one.experts_for(i), i % 4 ? 2 : 1) << i;
    }
  }
}

TEST(MatchedTopK, DependsOnThePlaceAloneAndPassesPaddingOver) {
  HandMade router("matched_topk", {{"mean_k", "1.5"}}, 4);
  const std::vector<std::uint8_t> real_tokens = {1, 0, 1, 1, 0, 1};
  for (const bool training : {true, false}) {
    const auto trace = router.route(Rows(6, k_p), 3, [&](RoutingContext& c) {
      c.real_tokens = real_tokens, c.real_in_batch = 4, c.training = training, c.step = 77, c.seed = 8, c.layer = 1;
    });
    EXPECT_EQ(counts_of(*trace), (std::vector<i64>{1, 0, 1, 2, 0, 2})) << "padding uses up its number";
  }
}

TEST(MatchedTopK, TakesTheMostProbableAndWeighsThemAsAsked) {
  HandMade usual("matched_topk", {{"mean_k", "1.5"}}, 4), one("matched_topk", {{"mean_k", "1.5"}, {"raw_if_single", "false"}}, 4),
      raw("matched_topk", {{"mean_k", "1.5"}, {"renormalize", "false"}}, 4);
  const auto u = usual.route(Rows(2, k_p)), o = one.route(Rows(2, k_p)), r = raw.route(Rows(2, k_p));
  EXPECT_EQ(experts_of(*u, 0), (Experts{1}));
  EXPECT_EQ(experts_of(*u, 1), (Experts{1, 3}));
  EXPECT_TRUE(weights_are(*u, 0, {0.4})) << "raw where there is one";
  EXPECT_TRUE(weights_are(*u, 1, {0.4 / 0.7, 0.3 / 0.7}));
  EXPECT_EQ(weights_of(*o, 0), (std::vector<real>{1}));
  EXPECT_TRUE(weights_are(*r, 0, {0.4}));
  EXPECT_TRUE(weights_are(*r, 1, {0.4, 0.3}));
}

TEST(MatchedTopK, RefusesBadOptionsByName) {
  EXPECT_TRUE(refused("matched_topk", {{"mean_k", "0.9"}}, {"moe.mean_k = 0.9", "from 1 to 4"}));
  EXPECT_TRUE(refused("matched_topk", {{"mean_k", "4.5"}}, {"moe.mean_k = 4.5", "from 1 to 4"}));
  EXPECT_TRUE(refused("matched_topk", {{"mean_k", "two"}}, {"moe.mean_k = two"}));
  EXPECT_TRUE(refused("matched_topk", {{"k", "2"}}, {"moe.k", "mean_k"}));
  EXPECT_TRUE(refused("matched_topk", {{"renormalize", "false"}, {"raw_if_single", "true"}}, {"moe.raw_if_single"})) << "raw is raw";
}

}  // namespace
}  // namespace pleiad::routing
