// Who owns which expert, for all placement rules and any number of owners.
#include "pleiad/core/expert_map.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"
#include "support/sample.hpp"

namespace pleiad {
namespace {

std::vector<i64> some_widths(i64 experts) {
  const Stream draw(4, Purpose::test);
  std::vector<i64> widths;
  for (i64 e = 0; e < experts; ++e) widths.push_back(1 + static_cast<i64>(draw.below(static_cast<std::uint64_t>(e), 50)));
  return widths;
}

TEST(ExpertMap, GivesEveryExpertToOneOwnerInAscendingLists) {
  for (const ExpertPlacement rule : {ExpertPlacement::block, ExpertPlacement::round_robin, ExpertPlacement::balanced}) {
    for (i64 experts = 0; experts <= 20; ++experts) {
      for (i64 owners = 1; owners <= 24; ++owners) {
        const ExpertMap map(rule, some_widths(experts), owners);
        ASSERT_EQ(map.experts(), experts);
        ASSERT_EQ(map.owners(), owners);
        std::vector<i64> seen;
        for (i64 r = 0; r < owners; ++r) {
          const auto& list = map.owned_by(r);
          ASSERT_TRUE(std::is_sorted(list.begin(), list.end()));
          for (std::size_t l = 0; l < list.size(); ++l) {
            ASSERT_EQ(map.owner(list[l]), r);
            ASSERT_EQ(map.local_index(list[l]), static_cast<i64>(l));
          }
          seen.insert(seen.end(), list.begin(), list.end());
        }
        std::sort(seen.begin(), seen.end());
        std::vector<i64> all(static_cast<std::size_t>(experts));
        std::iota(all.begin(), all.end(), i64{0});
        ASSERT_EQ(seen, all);
      }
    }
  }
}

TEST(ExpertMap, BlocksAreContiguousAndOfNearlyEqualCount) {
  const ExpertMap map(ExpertPlacement::block, std::vector<i64>(11, 1), 4);
  for (i64 e = 1; e < 11; ++e) EXPECT_GE(map.owner(e), map.owner(e - 1));
  for (i64 r = 0; r < 4; ++r) EXPECT_NEAR(static_cast<double>(map.owned_by(r).size()), 2.5, 0.6);
}

TEST(ExpertMap, RoundRobinDealsLikeCards) {
  EXPECT_EQ(ExpertMap(ExpertPlacement::round_robin, std::vector<i64>(7, 1), 3).owned_by(1), (std::vector<i64>{1, 4}));
}

// Longest first to the least loaded: at most 4/3 of the best possible, and never more than mean + widest.
TEST(ExpertMap, BalancedKeepsTheLargestLoadWithinItsBound) {
  for (const i64 experts : {5, 16, 64}) {
    const std::vector<i64> widths = some_widths(experts);
    for (i64 owners = 1; owners <= 9; ++owners) {
      const ExpertMap map(ExpertPlacement::balanced, widths, owners);
      i64 largest = 0, total = 0, widest = 0;
      for (i64 r = 0; r < owners; ++r) {
        i64 load = 0;
        for (const i64 e : map.owned_by(r)) load += widths[e];
        largest = std::max(largest, load);
      }
      for (const i64 w : widths) total += w, widest = std::max(widest, w);
      const double best = std::max(static_cast<double>(total) / static_cast<double>(owners), static_cast<double>(widest));
      EXPECT_LE(static_cast<double>(largest), static_cast<double>(total) / static_cast<double>(owners) + static_cast<double>(widest));
      if (experts == 64) {
        EXPECT_LE(static_cast<double>(largest), 1.1 * best) << owners << " owners";
      }
    }
  }
  const ExpertMap map(ExpertPlacement::balanced, {9, 1, 1, 1, 6}, 2);
  EXPECT_EQ(map.owned_by(0), (std::vector<i64>{0}));
  EXPECT_EQ(map.owned_by(1), (std::vector<i64>{1, 2, 3, 4}));
}

TEST(ExpertMap, TakesOwnersFromAList) {
  const ExpertMap map({1, 0, 1, 1}, 3);
  EXPECT_EQ(map.owned_by(1), (std::vector<i64>{0, 2, 3}));
  EXPECT_TRUE(map.owned_by(2).empty());
  EXPECT_EQ(map.local_index(3), 2);
  EXPECT_EQ(map.owner_of_each(), (std::vector<i64>{1, 0, 1, 1}));
  EXPECT_THROW(ExpertMap({0, 2}, 2), LogicError);
}

TEST(Rebalancing, MovesAsFewAsItTakes) {
  const std::vector<double> load{9, 1, 1, 1};
  EXPECT_EQ(rebalanced_owners(load, {0, 0, 1, 1}, 2, 0.01), (std::vector<i64>{0, 1, 1, 1}));
  EXPECT_EQ(rebalanced_owners(load, {0, 1, 1, 1}, 2, 0.01), (std::vector<i64>{0, 1, 1, 1})) << "nothing to gain";
  // Loads 6 and 10: only an exchange helps, of 6 for 4.
  EXPECT_EQ(load_per_owner(std::vector<double>{6, 4, 4, 2}, rebalanced_owners(std::vector<double>{6, 4, 4, 2}, {0, 0, 1, 1}, 2, 0.01), 2), (std::vector<double>{8, 8}));
}

TEST(Rebalancing, NeverMakesTheHeaviestHeavierAndNearlyEvensOutManyExperts) {
  const Stream draw(5, Purpose::test);
  for (const i64 owners : {1, 2, 3, 8}) {
    for (const std::size_t experts : {1u, 5u, 64u}) {
      std::vector<double> load;
      std::vector<i64> owner;
      for (std::size_t e = 0; e < experts; ++e) {
        load.push_back(draw.uniform(2 * e) * draw.uniform(2 * e + 1));
        owner.push_back(static_cast<i64>(e) * owners / static_cast<i64>(experts));
      }
      const double before = std::ranges::max(load_per_owner(load, owner, owners));
      const std::vector<double> after = load_per_owner(load, rebalanced_owners(load, owner, owners, 0.01), owners);
      EXPECT_LE(std::ranges::max(after), before);
      const double mean = std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(owners);
      if (experts == 64) {
        EXPECT_LT(std::ranges::max(after), 1.05 * mean) << owners;
      }
    }
  }
}

TEST(Rebalancing, WithoutAnyLoadLeavesAllInPlace) {
  EXPECT_EQ(rebalanced_owners(std::vector<double>{0, 0, 0}, {1, 0, 1}, 2, 0.01), (std::vector<i64>{1, 0, 1}));
}

TEST(ExpertMap, NeedsAnOwner) { EXPECT_THROW(ExpertMap(ExpertPlacement::block, {1}, 0), LogicError); }

TEST(ExpertPlacement, IsReadFromItsWord) {
  EXPECT_EQ(expert_placement_from("block"), ExpertPlacement::block);
  EXPECT_EQ(expert_placement_from("round_robin"), ExpertPlacement::round_robin);
  EXPECT_EQ(expert_placement_from("balanced"), ExpertPlacement::balanced);
  EXPECT_THROW(expert_placement_from("other"), LogicError);
}

}  // namespace
}  // namespace pleiad
