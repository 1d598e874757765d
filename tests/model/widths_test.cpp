// Distributions of expert widths: exact totals, the relative sizes of the paper, and what contradicts them.
#include "pleiad/model/widths.hpp"

#include <numeric>

#include "model/tiny_model.hpp"

namespace pleiad::model {
namespace {

std::vector<i64> widths(const Keys& keys, i64 experts, i64 mean) {
  Spec spec = spec_of("moe", keys);
  const std::vector<i64> w = distributed_widths(spec, experts, mean);
  spec.finish();
  return w;
}
std::vector<i64> widths(const char* kind, i64 experts, i64 mean) { return widths({{"width_distribution", kind}}, experts, mean); }

TEST(Widths, AddUpExactlyAscendAndAreAtLeastOne) {
  for (const char* kind : {"homogeneous", "arithmetic", "geometric", "hybrid"}) {
    for (const i64 experts : {1, 2, 3, 4, 5, 7, 8, 16, 31, 64}) {
      for (const i64 mean : {1, 2, 3, 7, 10, 16, 100, 255, 1001, 14336}) {
        const std::vector<i64> w = widths(kind, experts, mean);
        SCOPED_TRACE(fmt::format("{}, {} experts of {}: {}", kind, experts, mean, fmt::join(w, " ")));
        EXPECT_EQ(static_cast<i64>(w.size()), experts);
        EXPECT_EQ(std::accumulate(w.begin(), w.end(), i64{0}), experts * mean);
        EXPECT_TRUE(std::ranges::is_sorted(w));
        EXPECT_GE(w.front(), 1);
      }
    }
  }
}

TEST(Widths, OfEightExpertsAreThoseOfThePaper) {
  EXPECT_EQ(widths("homogeneous", 8, 16), (std::vector<i64>(8, 16)));
  EXPECT_EQ(widths("arithmetic", 8, 16), (std::vector<i64>{9, 11, 13, 15, 17, 19, 21, 23}));
  EXPECT_EQ(widths("arithmetic", 8, 48), (std::vector<i64>{27, 33, 39, 45, 51, 57, 63, 69}));
  EXPECT_EQ(widths("geometric", 8, 255), (std::vector<i64>{8, 16, 32, 64, 128, 256, 512, 1024})) << "8 * 255 is 8 times 1 + 2 + ... + 128";
  EXPECT_EQ(widths("hybrid", 8, 2), (std::vector<i64>{1, 1, 1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(widths("hybrid", 8, 64), (std::vector<i64>{32, 32, 32, 32, 64, 64, 128, 128}));
  EXPECT_EQ(widths(Keys{}, 3, 5), (std::vector<i64>{5, 5, 5})) << "homogeneous unless told otherwise";
}

TEST(Widths, AreWithinOneOfTheExactShareWhereThatIsAboveOne) {
  const std::vector<i64> w = widths("arithmetic", 8, 100);
  for (std::size_t e = 0; e < 8; ++e) EXPECT_NEAR(static_cast<double>(w[e]), 800 * (9 + 2 * static_cast<double>(e)) / 128, 1) << e;
  const std::vector<i64> g = widths("geometric", 8, 300);
  for (std::size_t e = 0; e < 8; ++e) EXPECT_NEAR(static_cast<double>(g[e]), 2400 * std::pow(2.0, static_cast<double>(e)) / 255, 1) << e;
}

TEST(Widths, FollowTheRatio) {
  EXPECT_EQ(widths({{"width_distribution", "arithmetic"}, {"width_ratio", "3"}}, 3, 4), (std::vector<i64>{2, 4, 6}));
  EXPECT_EQ(widths({{"width_distribution", "arithmetic"}, {"width_ratio", "1"}}, 4, 6), (std::vector<i64>(4, 6)));
  EXPECT_EQ(widths({{"width_distribution", "geometric"}, {"width_ratio", "9"}}, 3, 13), (std::vector<i64>{3, 9, 27}));
  EXPECT_EQ(widths({{"width_distribution", "geometric"}, {"width_ratio", "1"}}, 4, 6), (std::vector<i64>(4, 6)));
}

std::string error_of(const Keys& keys) {
  return test::message_of<UserError>([&] {
    Spec spec = spec_of("moe", keys);
    MoeConfig::read(spec, 2);
    spec.finish();
  });
}

TEST(Widths, BecomeThoseOfTheExperts) {
  Spec spec = spec_of("moe", {{"experts", "8"}, {"expert_width", "16"}, {"width_distribution", "arithmetic"}});
  EXPECT_EQ(MoeConfig::read(spec, 2).expert_widths, (std::vector<i64>{9, 11, 13, 15, 17, 19, 21, 23}));
}

TEST(Widths, RefuseBadOptionsByName) {
  const std::string both = error_of({{"experts", "2"}, {"expert_widths", "1,2"}, {"width_distribution", "hybrid"}});
  EXPECT_TRUE(test::contains(both, "moe.width_distribution") && test::contains(both, "moe.expert_widths")) << both;
  const std::string ratio = error_of({{"experts", "2"}, {"expert_widths", "1,2"}, {"width_ratio", "3"}});
  EXPECT_TRUE(test::contains(ratio, "moe.width_ratio") && test::contains(ratio, "moe.expert_widths")) << ratio;
  EXPECT_TRUE(test::contains(error_of({{"width_distribution", "bell"}}), "moe.width_distribution = bell"));
  EXPECT_TRUE(test::contains(error_of({{"width_distribution", "geometric"}, {"width_ratio", "0.5"}}), "moe.width_ratio = 0.5"));
  EXPECT_TRUE(test::contains(error_of({{"width_distribution", "hybrid"}, {"width_ratio", "4"}, {"router", "dense"}}), "moe.width_ratio"))
      << "the hybrid distribution has no ratio";
}

// The preset asks for a distribution; a list that the user gives wins.
TEST(Widths, GivenAsAListWinOverThoseOfAPreset) {
  Spec spec = spec_of("moe", {{"preset", "hmoe"}, {"experts", "3"}, {"expert_widths", "4,1,9"}});
  EXPECT_EQ(MoeConfig::read(spec, 2).expert_widths, (std::vector<i64>{4, 1, 9}));
}

}  // namespace
}  // namespace pleiad::model
