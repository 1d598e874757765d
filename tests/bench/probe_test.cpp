#include "pleiad/bench/probe.hpp"

#include <gtest/gtest.h>

#include "support/alone.hpp"

namespace pleiad::bench {
namespace {

TEST(FitLine, FindsTheLineThatPointsLieOn) {
  const std::vector<double> bytes = {8, 512, 4096, 1 << 20};
  std::vector<double> seconds;
  for (const double b : bytes) seconds.push_back(2e-6 + b / 3e9);
  const Line line = fit_line(bytes, seconds);
  EXPECT_NEAR(line.at_zero, 2e-6, 1e-15);
  EXPECT_NEAR(1 / line.per_unit, 3e9, 1);
}

// Two points and a third one in doubt: a tenth more at the long end moves the slope, and the latency hardly.
TEST(FitLine, WeighsDeviationsByTheirShare) {
  const Line line = fit_line({1, 2, 1e6}, {1, 1, 1.1e3});
  EXPECT_NEAR(line.at_zero, 1, 0.01);
  EXPECT_NEAR(line.per_unit, 1.1e-3, 1e-5);
}

TEST(FitLine, HasNoNumberBelowZero) {
  const Line falls = fit_line({1, 10, 100}, {3, 2, 1});
  EXPECT_EQ(falls.per_unit, 0);
  EXPECT_GT(falls.at_zero, 0);
  const Line below = fit_line({1, 2, 3}, {1, 4, 9});
  EXPECT_EQ(below.at_zero, 0);
  EXPECT_GT(below.per_unit, 0);
}

TEST(SecondsLeft, AreThoseOfTheBudgetOrOfTheRoundsThatMustBe) {
  const Rounds rounds{.seconds = 10, .least = 3, .most = 5};
  EXPECT_DOUBLE_EQ(seconds_left(rounds, 10, 10, 2.5), 7.5) << "until the time is over";
  EXPECT_DOUBLE_EQ(seconds_left(rounds, 10, 10, 8), 16) << "two more rounds must be";
  EXPECT_DOUBLE_EQ(seconds_left(rounds, 10, 40, 4), 1) << "no more rounds than that";
  EXPECT_DOUBLE_EQ(seconds_left(rounds, 10, 50, 5), 0);
}

TEST(TimeInRounds, RunsEveryProbeInEveryRoundAndKeepsGroupsInOrder) {
  int first = 0, second = 0;
  std::vector<Probe> probes = {{"a", 5, [&] { ++first; }}, {"b", 1, [&] { ++second; }}, {"a", 10, [] {}}};
  Rounds rounds{.seconds = 0, .least = 2, .most = 4, .sample_seconds = 0};
  double done = 0;
  rounds.progress = [&](double share, double) { done = share; };
  time_in_rounds(comm::Communicator::alone(), rounds, probes);
  EXPECT_EQ(first, 2 + 2) << "two to warm up, one in each round";
  EXPECT_EQ(second, first);
  EXPECT_GT(done, 0);
  probes[0].seconds = 0.5, probes[2].seconds = 2;
  EXPECT_EQ(rates_of(probes, "a"), (std::vector<double>{10, 5}));
  EXPECT_TRUE(rates_of(probes, "c").empty());
}

}  // namespace
}  // namespace pleiad::bench
