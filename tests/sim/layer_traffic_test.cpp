// Counted by sums, against what the exchange itself counts token by token.
#include "pleiad/sim/layer_traffic.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "pleiad/core/random.hpp"
#include "pleiad/exchange/dry_run.hpp"

namespace pleiad::sim {
namespace {

using exchange::Amount;
using exchange::Combine;
using exchange::Kind;
using exchange::Traffic;

constexpr i64 k_sequences = 12, k_seq_len = 8, k_experts = 10, k_width = 16;

/// Tokens with 0 to 3 different experts, the first ones more often.
routing::Assignment routed() {
  routing::Assignment a;
  a.experts = k_experts;
  const Stream draw(7, Purpose::test);
  for (i64 t = 0; t < k_sequences * k_seq_len; ++t) {
    std::vector<std::int32_t> mine;
    for (std::uint64_t i = 0; i < draw.below(static_cast<std::uint64_t>(100 * t), 4); ++i) {
      const auto at = static_cast<std::uint64_t>(100 * t) + 10 + i;
      const auto e = static_cast<std::int32_t>(draw.below(at, 1 + draw.below(at + 50, k_experts)));
      if (std::ranges::find(mine, e) == mine.end()) mine.push_back(e);
    }
    for (const std::int32_t e : mine) {
      a.expert.push_back(e);
      a.weight.push_back(1);
      a.kept.push_back(1);
    }
    a.offset.push_back(static_cast<i64>(a.expert.size()));
  }
  return a;
}

std::unique_ptr<Demand> replayed(const routing::Assignment& a) {
  Recording r{k_experts, k_seq_len, k_sequences, {}, "test"};
  r.layers.push_back({a.offset, a.expert});
  return replay(std::move(r));
}

i64 whole(double x) { return std::llround(x); }
i64 others(const Reached& r) { return whole(r.near + r.far); }

struct Layout {
  i64 ranks, each;
};

class TrafficOf : public testing::TestWithParam<Layout> {
 protected:
  TrafficOf() : a_(routed()), demand_(replayed(a_)), map_(ExpertPlacement::round_robin, std::vector<i64>(k_experts, 4), 1), owners_(map_.for_owners(GetParam().ranks)) {
    for (i64 r = 0; r <= GetParam().ranks; ++r) first_.push_back(r == GetParam().ranks ? k_sequences : LaneLayout(4, k_sequences, k_seq_len, GetParam().ranks, r).my_sequences().begin);
  }
  LayerTraffic counted(Kind kind) const {
    return count_traffic(*demand_, {}, RankSequences(*demand_, 0, first_), owners_.owner_of_each(), {0, GetParam().ranks, GetParam().each}, kind, k_seq_len);
  }
  std::vector<Traffic> exact(Kind kind, Combine combine) const {
    const exchange::DryRunExchanger dry(exchange::NodeLayout::of_size(GetParam().ranks, GetParam().each), combine, kind);
    return dry.traffic_per_rank(a_, map_, LaneLayout(4, k_sequences, k_seq_len, GetParam().ranks, 0), k_width);
  }

  routing::Assignment a_;
  std::unique_ptr<Demand> demand_;
  ExpertMap map_, owners_;
  std::vector<i64> first_;
};

TEST_P(TrafficOf, RanksIsWhatTheExchangeCounts) {
  const LayerTraffic t = counted(Kind::all_to_all);
  for (const Combine combine : {Combine::home, Combine::owner}) {
    const std::vector<Traffic> expected = exact(Kind::all_to_all, combine);
    for (std::size_t r = 0; r < expected.size(); ++r) {
      const auto bytes = [&](double Reached::*part, exchange::Way way) {
        const Amount out{whole(t.rows_out[r].*part), whole(t.entries_out[r].*part)}, in{whole(t.rows_in[r].*part), whole(t.entries_in[r].*part)};
        return exchange::traffic_between_ranks(out, in, k_width, combine, way);
      };
      Traffic sum = bytes(&Reached::near, exchange::Way::messages_within);
      sum += bytes(&Reached::far, exchange::Way::messages_between);
      EXPECT_EQ(sum.forward_bytes, expected[r].forward_bytes);
      EXPECT_EQ(sum.backward_bytes, expected[r].backward_bytes);
      EXPECT_EQ(sum.between_bytes, expected[r].between_bytes);
    }
  }
}

TEST_P(TrafficOf, NodesIsWhatTheHierarchicalExchangeCounts) {
  const LayerTraffic t = counted(Kind::hierarchical);
  const RankGroup group{0, GetParam().ranks, GetParam().each};
  Network network;
  LinkLoads rows(network, group.nodes()), entries(network, group.nodes());
  rows.add(t.rows, 1);
  entries.add(t.entries, 1);
  for (const Combine combine : {Combine::home, Combine::owner}) {
    i64 between = 0, expected = 0, counted_rows = 0, counted_entries = 0;
    for (const Traffic& rank : exact(Kind::hierarchical, combine)) expected += rank.between_bytes;
    for (i64 n = 0; n < group.nodes(); ++n) {
      const Amount out{whole(rows.out_bytes(n)), whole(entries.out_bytes(n))}, in{whole(rows.in_bytes(n)), whole(entries.in_bytes(n))};
      i64 tables = 0;
      for (i64 m = 0; m < group.nodes(); ++m) tables += m == n ? 0 : exchange::ticket_table_bytes(group.ranks_on(n), group.ranks_on(m));
      between += exchange::traffic_between_nodes(out, in, tables, k_width, combine).between_bytes;
      counted_rows += out.rows;
      counted_entries += out.entries;
    }
    EXPECT_EQ(between, expected);
    double far_rows = 0, far_entries = 0;
    for (i64 r = 0; r < GetParam().ranks; ++r) far_rows += t.rows_out[r].far, far_entries += t.entries_out[r].far;
    EXPECT_EQ(whole(far_rows), counted_rows);
    EXPECT_EQ(whole(far_entries), counted_entries);
  }
}

TEST_P(TrafficOf, GatherIsWhatTheExchangeCounts) {
  const LayerTraffic t = counted(Kind::gather);
  const std::vector<Traffic> expected = exact(Kind::gather, Combine::owner);
  for (std::size_t r = 0; r < expected.size(); ++r) {
    const Amount out{others(t.rows_out[r]), others(t.entries_out[r])}, in{others(t.rows_in[r]), others(t.entries_in[r])};
    EXPECT_EQ(exchange::traffic_between_ranks(out, in, k_width, Combine::owner, exchange::Way::messages_within).bytes(), expected[r].bytes());
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, TrafficOf, testing::Values(Layout{1, 1}, Layout{2, 2}, Layout{4, 2}, Layout{3, 2}, Layout{6, 1}, Layout{8, 4}, Layout{9, 4}, Layout{12, 5}),
                         [](const auto& i) { return fmt::format("{}_ranks_{}_on_a_node", i.param.ranks, i.param.each); });

TEST(RankGroup, KnowsItsPartOfTheNodes) {
  const RankGroup g{6, 8, 4};  // ranks 6 to 13: nodes 1 (two of them), 2, 3 (two)
  EXPECT_EQ(g.first_node(), 1);
  EXPECT_EQ(g.nodes(), 3);
  EXPECT_EQ(g.node_of(0), 0);
  EXPECT_EQ(g.node_of(7), 2);
  EXPECT_EQ(g.ranks_on(0), 2);
  EXPECT_EQ(g.ranks_on(1), 4);
  EXPECT_EQ(g.ranks_on(2), 2);
}

}  // namespace
}  // namespace pleiad::sim
