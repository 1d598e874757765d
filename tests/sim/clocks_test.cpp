#include "pleiad/sim/clocks.hpp"

#include <gtest/gtest.h>

namespace pleiad::sim {
namespace {

double of(const Clocks& c, i64 rank, Phase phase) { return c.phase_seconds()[static_cast<std::size_t>(rank * k_phase_count + static_cast<int>(phase))]; }
double path(const Clocks& c, Phase phase) { return c.path()[static_cast<std::size_t>(phase)]; }

TEST(Clocks, WaitWhereTheyMeet) {
  Clocks c(3, 1);
  c.spend(0, Phase::attention, 2);
  c.spend(1, Phase::attention, 5);
  c.spend(2, Phase::router, 1);
  c.meet(Phase::plan, 0.5);
  for (i64 r = 0; r < 3; ++r) EXPECT_DOUBLE_EQ(c.now(r), 5.5);
  EXPECT_DOUBLE_EQ(of(c, 0, Phase::plan), 3.5);
  EXPECT_DOUBLE_EQ(of(c, 1, Phase::plan), 0.5);
  EXPECT_DOUBLE_EQ(c.wait_seconds()[2], 4);
  EXPECT_DOUBLE_EQ(c.wait_seconds()[1], 0);
}

TEST(Clocks, FollowTheLastOneBack) {
  Clocks c(2, 1);
  c.spend(0, Phase::attention, 2);
  c.spend(1, Phase::attention, 5);
  c.meet(Phase::plan, 0);
  c.spend(0, Phase::expert, 10);
  c.spend(1, Phase::expert, 3);
  c.meet(Phase::exchange, 1);
  EXPECT_DOUBLE_EQ(path(c, Phase::attention), 5);  // of rank 1
  EXPECT_DOUBLE_EQ(path(c, Phase::expert), 10);    // of rank 0
  EXPECT_DOUBLE_EQ(path(c, Phase::exchange), 1);
  EXPECT_DOUBLE_EQ(path(c, Phase::plan), 0);       // nobody on it waited
  EXPECT_DOUBLE_EQ(c.path_by_rank()[0], 10);
  EXPECT_DOUBLE_EQ(c.path_by_rank()[1], 5);
  EXPECT_DOUBLE_EQ(c.last(), 16);
}

TEST(Clocks, OfGroupsMeetByThemselves) {
  Clocks c(4, 2);
  c.spend(1, Phase::expert, 3);
  c.spend(2, Phase::expert, 4);
  c.meet_group(0, Phase::exchange, 0);
  EXPECT_DOUBLE_EQ(c.now(0), 3);
  EXPECT_DOUBLE_EQ(c.now(3), 0);
  c.spend(0, Phase::router, 2);
  c.meet(Phase::grad_sync, 0);
  EXPECT_DOUBLE_EQ(path(c, Phase::expert), 3);  // group 0 is the last with 3 and 2
  EXPECT_DOUBLE_EQ(path(c, Phase::router), 2);
  EXPECT_DOUBLE_EQ(of(c, 3, Phase::grad_sync), 5);
}

// One processor: as long as four ranks compute each has a quarter of it, then three a third each, then two half, then one all.
TEST(Clocks, ShareAProcessorUntilOthersWait) {
  Clocks c(4, 1, {4, 1});
  const double work[] = {1, 2, 4, 5};
  for (i64 r = 0; r < 4; ++r) c.compute(r, Phase::attention, 1);
  for (i64 r = 0; r < 4; ++r) c.compute(r, Phase::expert, work[r] - 1);
  c.meet(Phase::exchange, 0);
  const double until[] = {4, 7, 11, 12};
  for (i64 r = 0; r < 4; ++r) {
    EXPECT_DOUBLE_EQ(of(c, r, Phase::attention), 4);
    EXPECT_DOUBLE_EQ(of(c, r, Phase::expert), until[r] - 4);
    EXPECT_DOUBLE_EQ(of(c, r, Phase::exchange), 12 - until[r]);
    EXPECT_DOUBLE_EQ(c.now(r), 12);
  }
  EXPECT_DOUBLE_EQ(path(c, Phase::attention), 4);
  EXPECT_DOUBLE_EQ(path(c, Phase::expert), 8);
}

// Two ranks with work meet again and again: two of three times (of four ranks, which do they share a processor with) they have one each.
TEST(Clocks, PutRanksOnProcessorsAsChanceHasIt) {
  Clocks c(4, 1, {4, 2});
  constexpr int k_meetings = 600;
  for (int i = 0; i < k_meetings; ++i) {
    c.compute(0, Phase::expert, 1);
    c.compute(3, Phase::expert, 1);
    c.meet(Phase::exchange, 0);
  }
  EXPECT_NEAR(c.last() / k_meetings, (2 * 1.0 + 2.0) / 3, 0.06);
  Clocks again(4, 1, {4, 2});
  for (int i = 0; i < k_meetings; ++i) {
    again.compute(0, Phase::expert, 1);
    again.compute(3, Phase::expert, 1);
    again.meet(Phase::exchange, 0);
  }
  EXPECT_EQ(again.last(), c.last()) << "the same chance every time";
}

// What needs no processor takes as long as ever, and who has nothing to do gives its part away.
TEST(Clocks, OfWhoWaitsTakeNothing) {
  Clocks c(4, 1, {4, 1});
  c.compute(1, Phase::expert, 3);
  c.compute(2, Phase::expert, 3);
  c.spend(2, Phase::exchange, 0.5);
  c.meet(Phase::plan, 0);
  EXPECT_DOUBLE_EQ(of(c, 1, Phase::expert), 6);
  EXPECT_DOUBLE_EQ(c.last(), 6.5);
}

// A group has its part of the node, and a node that is not full its own processors.
TEST(Clocks, OfGroupsShareWhatIsTheirs) {
  Clocks c(6, 3, {4, 2});
  for (i64 r = 0; r < 6; ++r) c.compute(r, Phase::expert, 1);
  for (i64 g = 0; g < 3; ++g) c.meet_group(g, Phase::exchange, 0);
  EXPECT_DOUBLE_EQ(c.now(0), 2);
  EXPECT_DOUBLE_EQ(c.now(5), 1);
}

}  // namespace
}  // namespace pleiad::sim
