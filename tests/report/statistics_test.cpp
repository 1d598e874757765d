#include "pleiad/report/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace pleiad::report {
namespace {

TEST(Spread, MeanAndSampleDeviation) {
  const std::vector<double> values = {2, 4, 4, 4, 5, 5, 7, 9};
  const Spread s = spread_of(values);
  EXPECT_EQ(s.n, 8);
  EXPECT_DOUBLE_EQ(s.mean, 5);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(32.0 / 7));
  EXPECT_EQ(spread_of(std::vector<double>{3}).deviation, 0);
  EXPECT_EQ(spread_of(std::vector<double>{}).n, 0);
}

TEST(StudentT, QuantilesOfTheTables) {
  EXPECT_NEAR(student_t(1, 0.95), 12.706, 5e-4);
  EXPECT_NEAR(student_t(2, 0.95), 4.303, 5e-4);
  EXPECT_NEAR(student_t(4, 0.95), 2.776, 5e-4);
  EXPECT_NEAR(student_t(9, 0.99), 3.250, 5e-4);
  EXPECT_NEAR(student_t(30, 0.90), 1.697, 5e-4);
}

// Student 1908, additional hours of sleep under two drugs: t = 4.0621 with 9 degrees of freedom, p = 0.002833, interval 0.7001 to 2.4599.
TEST(Paired, TheSleepData) {
  const std::vector<double> a = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}, b = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const Difference d = paired_difference(a, b, 0.95);
  EXPECT_EQ(d.n, 10);
  EXPECT_NEAR(d.mean, 1.58, 1e-12);
  EXPECT_NEAR(d.low, 0.7001142, 1e-6);
  EXPECT_NEAR(d.high, 2.4598858, 1e-6);
  EXPECT_NEAR(d.p, 0.00283289, 1e-7);
  EXPECT_TRUE(d.separable());
  const Difference turned = paired_difference(b, a, 0.95);
  EXPECT_DOUBLE_EQ(turned.mean, -d.mean);
  EXPECT_DOUBLE_EQ(turned.p, d.p);
}

// The same data as two independent samples: t = 1.8608, 17.776 degrees of freedom, p = 0.07939, interval -0.2055 to 3.3655.
TEST(Welch, TheSleepData) {
  const std::vector<double> a = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}, b = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};
  const Difference d = welch_difference(a, b, 0.95);
  EXPECT_NEAR(d.mean, 1.58, 1e-12);
  EXPECT_NEAR(d.low, -0.2054832, 1e-6);
  EXPECT_NEAR(d.high, 3.3654832, 1e-6);
  EXPECT_NEAR(d.p, 0.07939414, 1e-7);
  EXPECT_FALSE(d.separable());
}

TEST(Paired, OnePairHasNoInterval) {
  const Difference d = paired_difference(std::vector<double>{1}, std::vector<double>{3}, 0.95);
  EXPECT_EQ(d.mean, 2);
  EXPECT_FALSE(d.has_interval);
  EXPECT_FALSE(d.separable());
  EXPECT_FALSE(welch_difference(std::vector<double>{1}, std::vector<double>{3, 4}, 0.95).has_interval);
}

TEST(Paired, EqualDifferences) {
  const Difference same = paired_difference(std::vector<double>{1, 2}, std::vector<double>{1, 2}, 0.95);
  EXPECT_EQ(same.p, 1);
  EXPECT_FALSE(same.separable());
  const Difference shifted = paired_difference(std::vector<double>{1, 2}, std::vector<double>{2, 3}, 0.95);
  EXPECT_EQ(shifted.p, 0);
  EXPECT_TRUE(shifted.separable());
}

TEST(Pareto, KeepsWhatNothingBeats) {
  const std::vector<double> cost = {3, 1, 2, 2, 4, NAN, 1}, loss = {1.0, 3.0, 2.0, 2.5, 1.0, 0.0, 3.0};
  // 4 costs more than 0 for the same loss, 3 is beaten by 2, 5 has no cost, 6 equals 1 and comes later.
  EXPECT_EQ(pareto_front(cost, loss), (std::vector<std::size_t>{1, 2, 0}));
  EXPECT_TRUE(pareto_front({}, {}).empty());
}

TEST(Smooth, MeansOverStretches) {
  Curve c;
  for (int i = 0; i < 1000; ++i) {
    c.x.push_back(i);
    c.y.push_back(2.0 * i);
  }
  const Curve s = smooth(c, 200, 1);
  ASSERT_EQ(s.x.size(), 200u);
  EXPECT_DOUBLE_EQ(s.x[0], 2);  // of 0 to 4
  EXPECT_DOUBLE_EQ(s.y[199], 2 * s.x[199]);
  EXPECT_DOUBLE_EQ(smooth(c, 10, 1).y[3], 2 * 349.5);
}

TEST(Smooth, LeavesOutWhatWasLostAndKeepsShortCurves) {
  const Curve s = smooth({{1, 2, 3}, {5, NAN, 7}}, 200, 1);
  EXPECT_EQ(s.x, (std::vector<double>{1, 3}));
  EXPECT_EQ(s.y, (std::vector<double>{5, 7}));
  EXPECT_TRUE(smooth({}, 200, 5).x.empty());
}

TEST(Smooth, WindowReachesOverItsNeighbours) {
  const Curve s = smooth({{1, 2, 3, 4, 5}, {0, 0, 10, 0, 0}}, 5, 3);
  EXPECT_NEAR(s.y[2], 10.0 / 3, 1e-12);
  EXPECT_NEAR(s.y[1], 10.0 / 3, 1e-12);
  EXPECT_NEAR(s.y[0], 0, 1e-12);  // shorter at the end: of 1 and 2
}

TEST(Thinned, KeepsTheEnds) {
  EXPECT_EQ(thinned(3, 5), (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(thinned(101, 3), (std::vector<std::size_t>{0, 50, 100}));
  EXPECT_TRUE(thinned(0, 3).empty());
}

TEST(Band, MeanAndDeviationOnACommonGrid) {
  const std::vector<Curve> curves = {{{0, 10}, {0, 10}}, {{2, 12}, {4, 14}}};
  const Band b = band_of(curves, 3, false);
  EXPECT_EQ(b.x, (std::vector<double>{2, 6, 10}));
  EXPECT_DOUBLE_EQ(b.mean[0], 3);  // 2 and 4
  EXPECT_DOUBLE_EQ(b.deviation[0], std::sqrt(2.0));
  EXPECT_TRUE(band_of({{{0, 1}, {0, 1}}, {{2, 3}, {0, 1}}}, 3, false).x.empty());
  const Band logs = band_of({{{1, 100}, {0, 1}}}, 3, true);
  EXPECT_NEAR(logs.x[1], 10, 1e-12);
  EXPECT_EQ(logs.x[2], 100);
}

TEST(Levels, EqualUpToTheTolerance) {
  const std::vector<double> flops = {103, 100, 200, 210, 104.9, 211};
  EXPECT_EQ(levels(flops, 0.05), (std::vector<std::size_t>{0, 0, 1, 1, 0, 2}));
  EXPECT_TRUE(levels({}, 0.05).empty());
}

}  // namespace
}  // namespace pleiad::report
