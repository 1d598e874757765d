#include "pleiad/bench/measurement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/alone.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::bench {
namespace {

TEST(Spread, OfSamplesByHand) {
  const Spread one = spread_of({4});
  EXPECT_EQ(one.median, 4);
  EXPECT_EQ(one.lower, 4);
  EXPECT_EQ(one.upper, 4);
  EXPECT_EQ(one.samples, 1);
  const Spread odd = spread_of({9, 1, 5, 3, 7});
  EXPECT_EQ(odd.median, 5);
  EXPECT_EQ(odd.lower, 3);
  EXPECT_EQ(odd.upper, 7);
  EXPECT_EQ(odd.least, 1);
  const Spread even = spread_of({4, 1, 3, 2});  // positions 0.75, 1.5 and 2.25 of 1 2 3 4
  EXPECT_DOUBLE_EQ(even.lower, 1.75);
  EXPECT_DOUBLE_EQ(even.median, 2.5);
  EXPECT_DOUBLE_EQ(even.upper, 3.25);
}

TEST(Spread, OfNothingIsNotANumber) {
  EXPECT_TRUE(std::isnan(spread_of({}).median));
  EXPECT_EQ(spread_of({}).samples, 0);
}

TEST(Contest, RatesEachSampleAgainstTheRoofAroundIt) {
  Contest c;
  c.roof = {1, 3, 1, 5};     // around the samples: 2, 2, 3
  c.subject = {4, 2, 6};
  const Spread ratio = c.ratio(10, 5);  // twice the work: 2 * 2/4, 2 * 2/2, 2 * 3/6
  EXPECT_DOUBLE_EQ(ratio.median, 1);
  EXPECT_DOUBLE_EQ(ratio.upper, 1.5);
  EXPECT_DOUBLE_EQ(ratio.lower, 1);
  EXPECT_EQ(c.subject_seconds().median, 4);
  EXPECT_EQ(c.roof_seconds().median, 2);
}

/// Something that takes no time, and notes in which order it was called.
struct Turns {
  Timed side(char letter, bool prepared) {
    Timed t{[this, letter] { order += letter; }};
    if (prepared) t.prepare = [this] { order += '-'; };
    return t;
  }
  std::string order;
};

TEST(TakeTurns, AlternatesAndWarmsUpFirst) {
  Turns turns;
  // With something to prepare every sample is one run.
  const Contest c = take_turns(test::just_me(), {.warmup = 2, .repeats = 3}, turns.side('s', true), turns.side('r', true));
  EXPECT_EQ(turns.order, "-s-s-r-r-r-s-r-s-r-s-r");
  EXPECT_EQ(c.subject.size(), 3u);
  EXPECT_EQ(c.roof.size(), 4u);
}

TEST(TakeTurns, WithFurtherRoofs) {
  Turns turns;
  const Contest c = take_turns(test::just_me(), {.warmup = 0, .repeats = 2}, turns.side('s', true), turns.side('r', true), {turns.side('o', true)});
  EXPECT_EQ(turns.order, "-s-o-r-o-r-s-o-r-s-o-r");
  ASSERT_EQ(c.others.size(), 1u);
  EXPECT_EQ(c.others[0].size(), 3u);
}

TEST(Contest, RatesAgainstFurtherRoofs) {
  Contest c;
  c.subject = {2};
  c.roof = {1, 1};
  c.others = {{3, 5}};
  EXPECT_DOUBLE_EQ(c.ratio_to(c.others[0], 1, 1).median, 2);
}

TEST(TakeTurns, RepeatsWhatIsTooShortToTime) {
  Turns turns;
  take_turns(test::just_me(), {.warmup = 1, .repeats = 1}, turns.side('s', false), turns.side('r', true));
  EXPECT_GT(std::ranges::count(turns.order, 's'), 10);
}

TEST(TakeTurns, EndsWithItsTimeButNotBeforeThreeSamples) {
  i64 asked = 0;
  Turns turns;
  const Sampling hasty{.warmup = 0, .repeats = 1000, .seconds = 0, .progress = [&](i64, i64) { ++asked; }};
  const Contest c = take_turns(test::just_me(), hasty, turns.side('s', true), turns.side('r', true));
  EXPECT_EQ(c.subject.size(), static_cast<std::size_t>(k_least_samples));
  EXPECT_EQ(asked, k_least_samples);
}

}  // namespace
}  // namespace pleiad::bench
