#include "pleiad/sim/rate_table.hpp"

#include <gtest/gtest.h>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {
namespace {

// Rows 1 and 100, widths 10 and 1000.
const RateTable k_table({1, 100}, {10, 1000}, {2, 8, 32, 128});

void expect(double rows, double width, double rate, bool measured) {
  const RateTable::Answer a = k_table.at(rows, width);
  EXPECT_NEAR(a.rate, rate, 1e-12 * rate) << rows << " rows, width " << width;
  EXPECT_EQ(a.measured, measured) << rows << " rows, width " << width;
}

TEST(RateTable, HasItsPoints) {
  expect(1, 10, 2, true);
  expect(1, 1000, 8, true);
  expect(100, 10, 32, true);
  expect(100, 1000, 128, true);
}

// Half the way in logarithms: 10 lies between 1 and 100, 100 between 10 and 1000; the geometric mean of 2 and 32 is 8.
TEST(RateTable, IsStraightInLogarithms) {
  expect(10, 10, 8, true);
  expect(1, 100, 4, true);
  expect(10, 100, 16, true);
}

TEST(RateTable, TakesTheTimeOfTheLeastBelowIt) {
  expect(0.5, 10, 1, false);
  expect(1, 5, 1, false);
  expect(0.5, 5, 0.5, false);
}

TEST(RateTable, StaysBeyondItsEnd) {
  expect(1e6, 1000, 128, false);
  expect(10, 1e6, 32, false);
}

TEST(RateTable, OfOnePoint) {
  const RateTable one({8}, {1}, {5});
  EXPECT_DOUBLE_EQ(one.at(8, 1).rate, 5);
  EXPECT_TRUE(one.at(8, 1).measured);
  EXPECT_DOUBLE_EQ(one.at(4, 1).rate, 2.5);
  EXPECT_FALSE(one.at(9, 1).measured);
}

TEST(RateTable, WantsAscendingAxesAndARateForEachCrossing) {
  EXPECT_THROW(RateTable({1, 1}, {1}, {1, 1}), LogicError);
  EXPECT_THROW(RateTable({1, 2}, {1}, {1}), LogicError);
  EXPECT_THROW(RateTable({}, {1}, {}), LogicError);
  EXPECT_THROW(RateTable({1}, {1}, {0}), LogicError);
}

}  // namespace
}  // namespace pleiad::sim
