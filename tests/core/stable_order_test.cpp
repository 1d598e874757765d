#include "pleiad/core/stable_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad {
namespace {

TEST(StableOrder, KeepsEqualKeysInPlace) {
  std::vector<std::int32_t> order;
  stable_order(std::vector<std::int32_t>{2, 0, 2, 1, 0}, 3, order);
  EXPECT_EQ(order, (std::vector<std::int32_t>{1, 4, 3, 0, 2}));
}

TEST(StableOrder, EqualsAStableSortForAnyLimit) {
  const Stream draw(3, Purpose::test);
  for (const i64 limit : {1, 2, 2047, 2048, 2049, 1 << 20, 1 << 22, (1 << 22) + 1, 2147483647}) {
    std::vector<std::int32_t> keys, order, expected(1000);
    for (std::uint64_t i = 0; i < 1000; ++i) keys.push_back(static_cast<std::int32_t>(draw.below(i, static_cast<std::uint64_t>(std::min<i64>(limit, i % 2 ? limit : 50)))));
    keys[7] = static_cast<std::int32_t>(limit - 1);
    std::iota(expected.begin(), expected.end(), 0);
    std::ranges::stable_sort(expected, {}, [&](std::int32_t i) { return keys[static_cast<std::size_t>(i)]; });
    stable_order(keys, limit, order);
    EXPECT_EQ(order, expected) << limit;
  }
}

TEST(StableOrder, TakesNothingAndRefusesKeysOutOfRange) {
  std::vector<std::int32_t> order{1, 2};
  stable_order({}, 0, order);
  EXPECT_TRUE(order.empty());
  EXPECT_THROW(stable_order(std::vector<std::int32_t>{3}, 3, order), LogicError);
  EXPECT_THROW(stable_order(std::vector<std::int32_t>{-1}, 3, order), LogicError);
}

}  // namespace
}  // namespace pleiad
