// Lanes for every number of ranks from 1 to 9: complete, contiguous, and summed in one order.
#include "pleiad/core/lanes.hpp"

#include "pleiad/core/error.hpp"
#include "support/sample.hpp"

namespace pleiad {
namespace {

template <class F>
void for_all_layouts(F f) {
  for (i64 ranks = 1; ranks <= 9; ++ranks) {
    for (i64 lanes = 1; lanes <= 16; lanes *= 2) {
      for (i64 sequences = 0; sequences <= 20; ++sequences) f(ranks, lanes, sequences);
    }
  }
}

TEST(Share, DealsEverythingOutInContiguousRunsThatDifferByOne) {
  for (i64 total = 0; total <= 30; ++total) {
    for (i64 parts = 1; parts <= 11; ++parts) {
      i64 at = 0;
      for (i64 part = 0; part < parts; ++part) {
        const Range r = share(total, parts, part);
        ASSERT_EQ(r.begin, at);
        ASSERT_GE(r.count, total / parts);
        ASSERT_LE(r.count, (total + parts - 1) / parts);
        at = r.end();
      }
      ASSERT_EQ(at, total);
    }
  }
}

TEST(LaneLayout, RanksShareLanesAndSequencesCompletelyAndInOrder) {
  for_all_layouts([](i64 ranks, i64 lanes, i64 sequences) {
    i64 lane = 0, sequence = 0, token = 0;
    for (i64 rank = 0; rank < ranks; ++rank) {
      const LaneLayout layout(lanes, sequences, 3, ranks, rank);
      ASSERT_EQ(layout.my_lanes().begin, lane);
      ASSERT_EQ(layout.my_sequences().begin, sequence);
      ASSERT_EQ(layout.first_token(), token);
      i64 row = 0;
      for (i64 i = 0; i < layout.my_lanes().count; ++i) {
        const Range rows = layout.local_rows(i);
        ASSERT_EQ(rows.begin, row);
        ASSERT_EQ(rows.count, 3 * layout.sequences_of_lane(lane + i).count);
        row = rows.end();
      }
      ASSERT_EQ(row, layout.my_tokens());
      lane = layout.my_lanes().end();
      sequence = layout.my_sequences().end();
      token += layout.my_tokens();
    }
    ASSERT_EQ(lane, lanes);
    ASSERT_EQ(sequence, sequences);
    ASSERT_EQ(token, LaneLayout(lanes, sequences, 3, ranks, 0).tokens());
  });
}

TEST(LaneLayout, LanesDoNotDependOnTheNumberOfRanks) {
  for_all_layouts([](i64 ranks, i64 lanes, i64 sequences) {
    const LaneLayout one(lanes, sequences, 2, 1, 0), many(lanes, sequences, 2, ranks, ranks - 1);
    for (i64 lane = 0; lane < lanes; ++lane) {
      ASSERT_EQ(one.sequences_of_lane(lane).begin, many.sequences_of_lane(lane).begin);
      ASSERT_EQ(one.sequences_of_lane(lane).count, many.sequences_of_lane(lane).count);
    }
  });
}

TEST(LaneLayout, NodesAreCompleteSubtreesThatCoverTheLanesOfARank) {
  for_all_layouts([](i64 ranks, i64 lanes, i64) {
    for (i64 rank = 0; rank < ranks; ++rank) {
      const LaneLayout layout(lanes, 4, 1, ranks, rank);
      i64 at = layout.my_lanes().begin;
      const std::vector<LaneNode> nodes = layout.nodes_of(rank);
      for (const LaneNode& node : nodes) {
        ASSERT_EQ(node.first, at);
        ASSERT_EQ(node.size & (node.size - 1), 0);
        ASSERT_EQ(node.first % node.size, 0);
        at += node.size;
      }
      ASSERT_EQ(at, layout.my_lanes().end());
      for (std::size_t i = 1; i < nodes.size(); ++i) {
        ASSERT_FALSE(nodes[i - 1].size == nodes[i].size && nodes[i - 1].first % (2 * nodes[i].size) == 0) << "two nodes could be one";
      }
    }
  });
}

/// The sum of lanes first .. first+size-1 by the definition of the tree.
double tree_sum(const std::vector<double>& leaf, i64 first, i64 size) {
  return size == 1 ? leaf[first] : tree_sum(leaf, first, size / 2) + tree_sum(leaf, first + size / 2, size / 2);
}

TEST(LaneTree, SumOfAnyPartitionHasTheBitsOfTheWholeTree) {
  for (i64 lanes = 1; lanes <= 16; lanes *= 2) {
    std::vector<double> leaf;
    const Stream draw(1, Purpose::test);
    for (i64 i = 0; i < lanes; ++i) leaf.push_back(draw.normal(static_cast<std::uint64_t>(i)) * std::pow(10.0, static_cast<double>(i % 5)));
    for (i64 ranks = 1; ranks <= 20; ++ranks) {
      std::vector<LaneNode> nodes;
      for (i64 rank = 0; rank < ranks; ++rank) {
        const auto more = LaneLayout(lanes, 1, 1, ranks, rank).nodes_of(rank);
        nodes.insert(nodes.end(), more.begin(), more.end());
      }
      constexpr i64 n = 2, stride = 3;
      std::vector<double> rows(nodes.size() * stride, 1e300);
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        rows[i * stride] = tree_sum(leaf, nodes[i].first, nodes[i].size);
        rows[i * stride + 1] = -2 * rows[i * stride];
      }
      add_along_tree(nodes, rows.data(), n, stride);
      ASSERT_EQ(rows[0], tree_sum(leaf, 0, lanes)) << lanes << " lanes, " << ranks << " ranks";
      ASSERT_EQ(rows[1], -2 * rows[0]);
      ASSERT_EQ(rows[2], 1e300) << "beyond the row";
    }
  }
}

TEST(LaneTree, RefusesNodesThatAreNoTree) {
  double rows[2] = {1, 2};
  EXPECT_THROW(add_along_tree<double>({{0, 2}, {2, 1}}, rows, 1, 1), LogicError);
}

TEST(LaneLayout, RefusesWhatIsNoLayout) {
  EXPECT_THROW(LaneLayout(6, 1, 1, 1, 0), LogicError);
  EXPECT_THROW(LaneLayout(0, 1, 1, 1, 0), LogicError);
  EXPECT_THROW(LaneLayout(4, 1, 1, 2, 2), LogicError);
  EXPECT_THROW(LaneLayout(4, -1, 1, 2, 0), LogicError);
  EXPECT_THROW(LaneLayout(4, 1, 0, 2, 0), LogicError);
}

}  // namespace
}  // namespace pleiad
