// What the cost model prefers where the answer is plain.
#include <gtest/gtest.h>

#include "pleiad/exchange/cost_model.hpp"

namespace pleiad::exchange {
namespace {

const MachineCost k_machine{{1e-6, 1e-10}, {1e-5, 4e-8}, 1e-10};  // a slow network

Kind best(const MachineCost& machine, i64 ranks, i64 per_node, const ExchangeLoad& load, Combine combine) {
  return predict(machine, NodeLayout::of_size(ranks, per_node), load, combine).front().kind;
}

TEST(CostModel, SendsATokenOncePerNodeWhereManyOfItsExpertsAreThere) {
  EXPECT_EQ(best(k_machine, 8, 2, {1024, 512, 8}, Combine::owner), Kind::hierarchical);
  EXPECT_EQ(best(k_machine, 64, 16, {1024, 512, 8}, Combine::home), Kind::hierarchical);
}

TEST(CostModel, SharesMemoryOnOneNode) { EXPECT_EQ(best(k_machine, 8, 8, {1024, 512, 2}, Combine::home), Kind::hierarchical); }

TEST(CostModel, GathersWhereEveryRankNeedsEveryTokenAndNodesHaveOneRank) {
  EXPECT_EQ(best(k_machine, 4, 1, {1024, 256, 64}, Combine::owner), Kind::gather);
  EXPECT_NE(best(k_machine, 16, 1, {1024, 256, 1}, Combine::owner), Kind::gather);
}

TEST(CostModel, NeverGathersWhereBitsMustBeThoseOfOneRank) {
  for (const Prediction& p : predict(k_machine, NodeLayout::of_size(4, 1), {1024, 256, 64}, Combine::home)) EXPECT_NE(p.kind, Kind::gather);
}

// Nobody sends less than one row each way to each other rank that needs a token: the bytes over the bandwidth.
TEST(CostModel, ComesToBytesOverBandwidthForLongRows) {
  const MachineCost cable_only{{0, 0}, {0, 4e-8}, 0};
  for (const Prediction& p : predict(cable_only, NodeLayout::of_size(8, 2), {1024, 512, 1}, Combine::owner)) {
    if (p.kind == Kind::gather) continue;
    EXPECT_NEAR(p.seconds, 2 * 4e-8 * 2 * 1024 * 6.0 / 8 * 512 * sizeof(real), 1e-6) << name_of(p.kind);
  }
}

TEST(CostModel, CutsWhatTravelsBetweenNodesIntoMoreChunksTheLongerItIs) {
  const NodeLayout nodes = NodeLayout::of_size(8, 2);
  for (const Combine combine : {Combine::home, Combine::owner}) {
    for (const Kind kind : {Kind::all_to_all, Kind::hierarchical}) {
      i64 before = 0;
      for (const i64 tokens : {1, 1024, 1 << 20}) {
        const i64 chunks = best_chunks(k_machine, nodes, {tokens, 256, 4}, combine, kind);
        EXPECT_GE(chunks, before);
        before = chunks;
      }
      EXPECT_EQ(best_chunks(k_machine, nodes, {1, 16, 1}, combine, kind), 1);
      EXPECT_GT(before, 4);
    }
  }
}

TEST(CostModel, CutsNothingWhereNothingLeavesANode) {
  EXPECT_EQ(best_chunks(k_machine, NodeLayout::of_size(8, 8), {1 << 20, 256, 4}, Combine::home, Kind::hierarchical), 1);
}

TEST(NodeLayout, CountsNodesByTheirFirstRanks) {
  const NodeLayout nodes({7, 3, 7, 3, 9});
  EXPECT_EQ(nodes.nodes(), 3);
  EXPECT_EQ(nodes.ranks_of(0), (std::vector<i64>{0, 2}));
  EXPECT_EQ(nodes.node_of(4), 2);
  EXPECT_EQ(nodes.place(3), 1);
}

TEST(NodeLayout, LetsEveryRankOfANodeSpeakWithSomeOther) {
  const NodeLayout nodes = NodeLayout::of_size(8, 2);
  EXPECT_NE(nodes.port(0, 1), nodes.port(0, 2));
  EXPECT_EQ(nodes.node_of(nodes.port(3, 0)), 3);
}

}  // namespace
}  // namespace pleiad::exchange
