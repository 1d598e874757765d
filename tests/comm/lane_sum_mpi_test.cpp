// Sums along the lane tree: the bits of a serial recursion, for any number of ranks, lanes and numbers.
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/comm/lane_sums.hpp"

#include <numeric>

#include "support/sample.hpp"

namespace pleiad::comm {
namespace {

template <class T>
T element(i64 lane, i64 j) {
  // Sizes far apart, so that every other order of additions gives other bits.
  return static_cast<T>(Stream(2, Purpose::test, static_cast<std::uint32_t>(lane)).normal(static_cast<std::uint64_t>(j)) *
                        std::pow(10.0, static_cast<double>((lane * 7 + j) % 6)));
}

template <class T>
T tree_sum(i64 first, i64 size, i64 j) {
  return size == 1 ? element<T>(first, j) : tree_sum<T>(first, size / 2, j) + tree_sum<T>(first + size / 2, size / 2, j);
}

template <class T>
void expect_serial_bits() {
  const Communicator world = Communicator::world();
  for (i64 lanes = 1; lanes <= 16; lanes *= 2) {
    for (const i64 n : {0, 1, 5, 2048, 2049, 5000}) {
      const LaneLayout layout(lanes, 3, 1, world.size(), world.rank());
      const i64 stride = n + 3, count = layout.my_lanes().count;
      std::vector<T> rows(static_cast<std::size_t>(std::max<i64>(count, 1) * stride), 0);
      for (i64 lane = 0; lane < count; ++lane) {
        for (i64 j = 0; j < n; ++j) rows[static_cast<std::size_t>(lane * stride + j)] = element<T>(layout.my_lanes().begin + lane, j);
      }
      std::vector<T> expected, copy = rows, total(static_cast<std::size_t>(n));
      for (i64 j = 0; j < n; ++j) expected.push_back(tree_sum<T>(0, lanes, j));
      lane_sum<T>(world, layout, copy.data(), stride, total);
      EXPECT_TRUE(test::same_bits(total, expected)) << lanes << " lanes, " << n << " numbers";
      lane_sum<T>(world, layout, rows.data(), stride, std::span<T>(rows.data(), static_cast<std::size_t>(n)));
      rows.resize(static_cast<std::size_t>(n));
      EXPECT_TRUE(test::same_bits(rows, expected)) << "in place, " << lanes << " lanes, " << n << " numbers";
    }
  }
}

TEST(LaneSum, OfFloatsHasTheBitsOfASerialTree) { expect_serial_bits<float>(); }
TEST(LaneSum, OfDoublesHasTheBitsOfASerialTree) { expect_serial_bits<double>(); }

/// Vectors of several sizes side by side in one block, all under way at once; ranks look after them at different times.
template <class T>
void expect_serial_bits_of_many(i64 lanes) {
  const Communicator world = Communicator::world();
  const LaneLayout layout(lanes, 3, 1, world.size(), world.rank());
  const std::vector<i64> sizes = {40000, 1, 0, 3, 2500, 17, 70001};
  const i64 stride = std::accumulate(sizes.begin(), sizes.end(), i64{0}) + 1, count = layout.my_lanes().count;
  std::vector<T> rows(static_cast<std::size_t>(std::max<i64>(count, 1) * stride), 7), expected;
  for (i64 lane = 0; lane < count; ++lane) {
    for (i64 j = 0; j + 1 < stride; ++j) rows[static_cast<std::size_t>(lane * stride + j)] = element<T>(layout.my_lanes().begin + lane, j);
  }
  for (i64 j = 0; j + 1 < stride; ++j) expected.push_back(tree_sum<T>(0, lanes, j));
  LaneSums<T> sums(world, layout);
  T* at = rows.data();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    sums.begin(at, stride, sizes[i]);
    at += sizes[i];
    if (static_cast<i64>(i) % 3 == world.rank()) sums.advance();
  }
  sums.finish();
  EXPECT_FALSE(sums.under_way());
  EXPECT_EQ(rows[static_cast<std::size_t>(stride - 1)], 7) << "beyond the vectors";
  rows.resize(expected.size());
  EXPECT_TRUE(test::same_bits(rows, expected)) << lanes << " lanes";
}

TEST(LaneSums, OfManyVectorsUnderWayHaveTheBitsOfASerialTree) {
  for (const i64 lanes : {1, 4, 16}) expect_serial_bits_of_many<float>(lanes);
  expect_serial_bits_of_many<double>(8);
}

TEST(LaneSums, GetThereByLookingAfterThemAlone) {
  const Communicator world = Communicator::world();
  const LaneLayout layout(8, 3, 1, world.size(), world.rank());
  const i64 n = 100000;
  std::vector<double> rows(static_cast<std::size_t>(std::max<i64>(layout.my_lanes().count, 1) * n), 0.0);
  for (i64 i = 0; i < layout.my_lanes().count * n; ++i) rows[static_cast<std::size_t>(i)] = 1;
  LaneSums<double> sums(world, layout);
  sums.begin(rows.data(), n, n);
  while (sums.under_way()) sums.advance();
  rows.resize(static_cast<std::size_t>(n));
  EXPECT_EQ(rows, std::vector<double>(static_cast<std::size_t>(n), 8.0));
}

TEST(LaneStatistics, FillsOneRowPerLaneOfThisRank) {
  const Communicator world = Communicator::world();
  for (i64 lanes = 1; lanes <= 16; lanes *= 2) {
    const LaneLayout layout(lanes, 5, 1, world.size(), world.rank());
    i64 calls = 0;
    const std::vector<double> total = lane_statistics(world, layout, 3, [&](i64 lane, double* row) {
      ++calls;
      for (i64 j = 0; j < 3; ++j) row[j] += element<double>(layout.my_lanes().begin + lane, j);
    });
    EXPECT_EQ(calls, layout.my_lanes().count);
    for (i64 j = 0; j < 3; ++j) EXPECT_EQ(total[static_cast<std::size_t>(j)], tree_sum<double>(0, lanes, j)) << lanes << " lanes";
  }
}

}  // namespace
}  // namespace pleiad::comm
