// Sums along the lane tree: the bits of a serial recursion, for any number of ranks, lanes and numbers.
#include "pleiad/comm/lane_sum.hpp"

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
