// Tables of rows of which some exist: zero when made, never moved, forgotten together.
#include "pleiad/core/sparse_rows.hpp"

#include "support/sample.hpp"

namespace pleiad {
namespace {

TEST(SparseRows, MakesRowsOnFirstTouchAndKeepsThem) {
  SparseRows rows(10, 3);
  EXPECT_EQ(rows.count(), 0);
  EXPECT_EQ(rows.slot(7), -1);
  real* seven = rows.touch(7);
  for (i64 j = 0; j < 3; ++j) EXPECT_EQ(seven[j], 0);
  seven[1] = 5;
  rows.touch(2)[0] = 4;
  EXPECT_EQ(rows.touch(7), seven);
  EXPECT_EQ(rows.touch(7)[1], 5);
  EXPECT_EQ(rows.touched(), (std::vector<i64>{7, 2}));
  EXPECT_EQ(rows.slot(2), 1);
  EXPECT_EQ(rows.at(1)[0], 4);
  std::vector<real> expected(30, 0);
  expected[7 * 3 + 1] = 5, expected[2 * 3] = 4;
  EXPECT_EQ(rows.expanded(), expected);
}

TEST(SparseRows, ForgetsRowsAndUsesTheirMemoryAgain) {
  SparseRows rows(5, 2);
  real* first = rows.touch(3);
  first[0] = first[1] = 9;
  rows.clear();
  EXPECT_EQ(rows.count(), 0);
  EXPECT_EQ(rows.slot(3), -1);
  EXPECT_EQ(rows.touch(1), first);
  EXPECT_EQ(first[0], 0) << "what stood there before";
  EXPECT_EQ(rows.expanded(), std::vector<real>(10, 0));
}

// Rows this wide fill a chunk two at a time.
TEST(SparseRows, DoNotMoveWhenOthersAreAdded) {
  const i64 width = 100000, count = 9;
  SparseRows rows(count, width);
  std::vector<real*> places;
  for (i64 r = 0; r < count; ++r) {
    places.push_back(rows.touch(count - 1 - r));
    places.back()[width - 1] = static_cast<real>(r + 1);
  }
  for (i64 r = 0; r < count; ++r) {
    EXPECT_EQ(rows.touch(count - 1 - r), places[static_cast<std::size_t>(r)]);
    EXPECT_EQ(rows.at(r)[width - 1], static_cast<real>(r + 1));
    EXPECT_EQ(rows.at(r)[0], 0);
  }
}

TEST(SparseRows, RefusesRowsThatCannotBe) {
  SparseRows rows(5, 2), none;
  EXPECT_THROW(rows.touch(5), LogicError);
  EXPECT_THROW(rows.touch(-1), LogicError);
  EXPECT_THROW(none.touch(0), LogicError);
  EXPECT_EQ(SparseRows(0, 4).count(), 0);
}

}  // namespace
}  // namespace pleiad
