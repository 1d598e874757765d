// Whole steps on clusters whose numbers make nanoseconds of bytes and operations.
#include "pleiad/sim/prediction.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "clusters.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/sim/collectives.hpp"

namespace pleiad::sim {
namespace {

using exchange::Combine;
using exchange::Kind;

StepModel dense_model(i64 ranks) {
  StepModel m;
  m.model = {.vocab = 6, .width = 4, .layers = 2, .heads = 2, .seq_len = 4, .dense_width = 8, .dense_kind = {}};
  m.batch = ranks;
  m.lanes = 16;
  m.exchange.kind = "all_to_all";
  m.exchange.chunks = 1;
  return m;
}

/// One layer of 4 experts in the second block.
StepModel sparse_model(i64 ranks) {
  StepModel m = dense_model(ranks);
  m.moe.layers = {1};
  m.moe.expert_widths = {8, 8, 8, 8};
  m.choices = 1;
  return m;
}

/// Each of the 4 tokens of a sequence to another expert.
std::unique_ptr<Demand> even() {
  Recording r{.experts = 4, .seq_len = 4, .sequences = 1, .layers = {}, .what = "even"};
  r.layers.push_back({{0, 1, 2, 3, 4}, {0, 1, 2, 3}});
  return replay(r);
}

/// All of them to expert 1.
std::unique_ptr<Demand> crowd() {
  Recording r{.experts = 4, .seq_len = 4, .sequences = 1, .layers = {}, .what = "crowd"};
  r.layers.push_back({{0, 1, 2, 3, 4}, {1, 1, 1, 1}});
  return replay(r);
}

Prediction predicted(const StepModel& m, const Cluster& c, i64 ranks, const Demand& demand) {
  const auto engine = make_engine("analytic");
  return predict({m, c, ranks, demand, *engine, 0});
}

double of(const Prediction& p, i64 rank, Phase phase) { return p.phase_seconds[static_cast<std::size_t>(rank * k_phase_count + static_cast<int>(phase))]; }

void expect_consistent(const Prediction& p) {
  EXPECT_NEAR(std::accumulate(p.path_seconds.begin(), p.path_seconds.end(), 0.0), p.seconds, 1e-9 * p.seconds);
  for (i64 r = 0; r < p.ranks; ++r) {
    double sum = 0;
    for (int phase = 0; phase < k_phase_count; ++phase) sum += of(p, r, static_cast<Phase>(phase));
    EXPECT_NEAR(sum, p.seconds, 1e-9 * p.seconds);
  }
  EXPECT_GT(p.efficiency(), 0);
  EXPECT_LE(p.efficiency(), 1 + 1e-12);
}

TEST(Prediction, OfOneRankIsItsWork) {
  const StepModel m = sparse_model(4);
  const Prediction p = predicted(m, unit_cluster(1, 1), 1, *even());
  expect_consistent(p);
  EXPECT_EQ(p.exchange, "local");
  EXPECT_DOUBLE_EQ(p.wait_seconds[0], 0);
  // 16 tokens, two blocks: both passes of both norms of each.
  EXPECT_NEAR(of(p, 0, Phase::norm), 1e-9 * 2 * 2 * (2 * 4 * 16 * 16), 1e-15);
  // Each expert has 4 rows in a tile of 8: three times 2 x 2 x 8 x 4 x 8 operations, both passes 8 x 8 activations; five copies of 4 rows of 16 bytes.
  EXPECT_NEAR(of(p, 0, Phase::expert), 1e-9 * 4 * (3 * 1024 + 2 * 64 + 5 * 64), 1e-15);
  EXPECT_DOUBLE_EQ(of(p, 0, Phase::exchange), 0);
  EXPECT_EQ(p.expert_rows, (std::vector<double>{16}));
  EXPECT_EQ(p.sent_bytes, (std::vector<double>{0}));
}

TEST(Prediction, OfAnEvenExchangeIsBytesOverBandwidth) {
  const StepModel m = sparse_model(4);
  const Prediction p = predicted(m, unit_cluster(4, 1), 4, *even());
  expect_consistent(p);
  EXPECT_EQ(p.exchange, "all_to_all, summed at home");
  // Each pass: 4 rows of 16 bytes are packed there and back, 3 of them travel each way, 4 are read for the sums of 4 tokens. Backward brings three weight gradients of 4 bytes more.
  const double pass = 4 * 16 + 3 * 16 + 4 * 16 + 3 * 16 + (4 + 4) * 16;
  for (i64 r = 0; r < 4; ++r) EXPECT_NEAR(of(p, r, Phase::exchange), 1e-9 * (2 * pass + 3 * 4), 1e-15);
  // Tickets of 12 bytes, planning free.
  EXPECT_NEAR(of(p, 0, Phase::plan), 1e-9 * (3 * 12 + 6 * 16), 1e-15);  // and the statistics: 64 bytes around a ring of 4, a quarter at a time
  // As run.h5 counts them: tickets, rows and results; rows, results and weights.
  for (const double bytes : p.sent_bytes) EXPECT_DOUBLE_EQ(bytes, 3 * 12 + 6 * 16 + 6 * 16 + 3 * 4);
  EXPECT_EQ(p.sent_bytes, p.between_bytes);
}

TEST(Prediction, WaitsForTheRankThatEverybodyWants) {
  StepModel m = sparse_model(4);
  const Prediction even_one = predicted(m, unit_cluster(4, 1), 4, *even()), crowded = predicted(m, unit_cluster(4, 1), 4, *crowd());
  expect_consistent(crowded);
  EXPECT_EQ(crowded.slowest_rank(), 1);
  EXPECT_EQ(crowded.expert_rows, (std::vector<double>{0, 16, 0, 0}));
  EXPECT_DOUBLE_EQ(of(crowded, 0, Phase::expert), 0);
  EXPECT_NEAR(of(crowded, 1, Phase::expert), 1e-9 * (3 * 2048 + 2 * 128 + 5 * 256), 1e-15);
  EXPECT_GT(crowded.seconds, even_one.seconds);
  // 12 rows of 16 bytes in two passes, their tickets, and two slices of the gradients with each of three ranks.
  EXPECT_EQ(crowded.links.front().name, "node 1 in");
  EXPECT_NEAR(crowded.links.front().bytes, 2 * 12 * 16 + 12 * 12 + 2 * 3 * m.dense_parameters(), 1e-9);
}

TEST(Prediction, OfADenseModelWaitsForTheSlowNode) {
  const StepModel m = dense_model(2);
  Cluster c = unit_cluster(2, 1);
  const Prediction good = predicted(m, c, 2, *even());
  c.slowness[1] = 3;
  const Prediction slow = predicted(m, c, 2, *even());
  expect_consistent(slow);
  EXPECT_NEAR(of(slow, 1, Phase::attention), 3 * of(good, 1, Phase::attention), 1e-15);
  EXPECT_NEAR(of(slow, 0, Phase::attention), of(good, 0, Phase::attention), 1e-15);
  EXPECT_GT(slow.wait_seconds[0], 0);
  EXPECT_NEAR(slow.wait_seconds[1], 0, 1e-15);
  EXPECT_EQ(slow.slowest_rank(), 1);
  EXPECT_NEAR(slow.ideal_seconds, good.ideal_seconds, 1e-15);
}

TEST(Prediction, OfGradientsIsTheirBytesTwice) {
  StepModel m = dense_model(2);
  m.lanes = 2;
  const Prediction p = predicted(m, unit_cluster(2, 1), 2, *even());
  // Half of the numbers go to the other rank, the sum of the other half comes back: as many bytes as there are numbers in 2 slices. Nothing hides the only bucket.
  // Numbers read, added and written once, and read for the norm, whose sum has 69 whole numbers.
  const double numbers = m.dense_parameters();
  EXPECT_NEAR(of(p, 0, Phase::grad_sync), 1e-9 * (4 * numbers + 4 * (3 * numbers + numbers) + 69 * 8), 1e-13);
}

TEST(Prediction, OfChunksHidesTheShorterBehindTheLonger) {
  StepModel m = sparse_model(4);
  m.moe.expert_widths.assign(8, 8);
  Recording r{.experts = 8, .seq_len = 4, .sequences = 2, .layers = {}, .what = ""};
  r.layers.push_back({{0, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 2, 4, 6, 1, 3, 5, 7}});
  const auto demand = replay(r);
  const Cluster c = unit_cluster(4, 1);
  const Prediction whole = predicted(m, c, 4, *demand);
  m.exchange.chunks = 2;
  const Prediction parts = predicted(m, c, 4, *demand);
  EXPECT_EQ(parts.exchange, "all_to_all in 2 chunks, summed at home");
  // Travelling takes 6 rows of 16 bytes in each pass (and 3 x 4 bytes backward), less than the experts: half of it is hidden.
  EXPECT_NEAR(whole.seconds - parts.seconds, 1e-9 * (6 * 16 + 6 * 16 + 12) / 2, 1e-14);
  m.exchange.chunks = 64;  // two experts of a rank make two chunks at most
  EXPECT_EQ(predicted(m, c, 4, *demand).exchange, parts.exchange);
}

TEST(Prediction, OfSharedMemorySendsATokenOnceToANode) {
  StepModel m = sparse_model(4);
  m.choices = 2;
  m.exchange.kind = "hierarchical";
  m.exchange.combine = Combine::owner;
  // Experts 2 and 3 are on node 1, each on a rank: every token goes to both.
  Recording r{.experts = 4, .seq_len = 4, .sequences = 1, .layers = {}, .what = ""};
  r.layers.push_back({{0, 2, 4, 6, 8}, {2, 3, 2, 3, 2, 3, 2, 3}});
  const auto demand = replay(r);
  const Prediction shared = predicted(m, unit_cluster(2, 2), 4, *demand);
  m.exchange.kind = "all_to_all";
  const Prediction flat = predicted(m, unit_cluster(2, 2), 4, *demand);
  expect_consistent(shared);
  expect_consistent(flat);
  // Rows of node 0's 8 tokens: once each, or to each of two ranks; out and home, forward and backward.
  const auto rows_in = [](const Prediction& p) { return std::accumulate(p.between_bytes.begin(), p.between_bytes.end(), 0.0); };
  EXPECT_NEAR(rows_in(flat) - rows_in(shared), 4 * 8 * 16, 1e-9);
}

TEST(Prediction, OfDataGroupsKeepsTokensInTheirGroup) {
  StepModel m = sparse_model(4);
  m.data_groups = 4;
  const Prediction p = predicted(m, unit_cluster(4, 1), 4, *even());
  expect_consistent(p);
  EXPECT_EQ(p.exchange, "local");
  EXPECT_EQ(p.sent_bytes, std::vector<double>(4, 0.0));
  m.data_groups = 3;
  EXPECT_THROW(predicted(m, unit_cluster(4, 1), 4, *even()), UserError);
}

TEST(Prediction, SaysWhatItRestsOn) {
  StepModel m = sparse_model(4);
  Cluster c = unit_cluster(4, 1);
  c.compute.gemm = RateTable({1000, 2000}, {1000, 2000}, {1e9, 1e9, 1e9, 1e9});
  c.node_memory = 100;
  m.batch = 2;
  m.lanes = 2;
  m.moe.expert_kind.rounded = true;
  const Prediction p = predicted(m, c, 4, *even());
  const auto says = [&](const std::string& start) { return std::ranges::any_of(p.notes, [&](const std::string& n) { return n.starts_with(start); }); };
  EXPECT_TRUE(says("outside of what was measured: "));
  EXPECT_TRUE(says("2 of 4 ranks have no tokens"));
  EXPECT_TRUE(says("does not fit: a node needs"));
  EXPECT_TRUE(says("not counted: that products are in bf16"));
  EXPECT_TRUE(predicted(sparse_model(4), unit_cluster(4, 1), 4, *even()).notes.empty());
}

TEST(Prediction, TakesAsMuchLongerAsPhasesOfRealStepsDo) {
  const StepModel m = sparse_model(4);
  const Prediction by_rates = predicted(m, unit_cluster(4, 1), 4, *even());
  Cluster c = unit_cluster(4, 1);
  for (const Phase p : {Phase::attention, Phase::exchange, Phase::grad_sync}) c.phases[static_cast<std::size_t>(p)] = 3;
  const Prediction p = predicted(m, c, 4, *even());
  expect_consistent(p);
  for (i64 r = 0; r < 4; ++r) {
    EXPECT_NEAR(of(p, r, Phase::attention), 3 * of(by_rates, r, Phase::attention), 1e-15);
    EXPECT_NEAR(of(p, r, Phase::exchange), 3 * of(by_rates, r, Phase::exchange), 1e-15);
    EXPECT_NEAR(of(p, r, Phase::expert), of(by_rates, r, Phase::expert), 1e-15);
  }
  EXPECT_GT(p.ideal_seconds, by_rates.ideal_seconds);
  // A rank that waits for another one waits no longer than that takes.
  const Prediction crowded = predicted(m, unit_cluster(4, 1), 4, *crowd());
  c = unit_cluster(4, 1);
  c.phases[static_cast<std::size_t>(Phase::exchange)] = 2;
  const Prediction longer = predicted(m, c, 4, *crowd());
  EXPECT_LT(of(longer, 0, Phase::exchange), 2 * of(crowded, 0, Phase::exchange) - 0.5 * of(crowded, 1, Phase::expert));
}

TEST(Prediction, TakesLongerForEachDoublingOfTheRanksOfACore) {
  const StepModel m = dense_model(4);
  Cluster c = unit_cluster(1, 4);
  c.network.within_bandwidth = 1e30;
  c.cores = 1;
  const double by_turns = predicted(m, c, 4, *even()).seconds;
  c.sharing = 1.5;
  EXPECT_NEAR(predicted(m, c, 4, *even()).seconds, 2.25 * by_turns, 1e-12);
  c.cores = 4;
  EXPECT_LT(predicted(m, c, 4, *even()).seconds, by_turns);
}

TEST(Prediction, OfAllToAllIsBytesOverBandwidth) {
  EXPECT_EQ(all_to_all_seconds(unit_cluster(1, 1), 1, 100), 0);
  Cluster c = unit_cluster(2, 3);
  c.network.within_latency = 1e-6;
  c.network.latency = 4e-6;
  c.network.message_seconds = 1e-7;
  // Two ranks of the node get 100 bytes each from one; three send 100 to each of three others through one interface.
  EXPECT_NEAR(all_to_all_seconds(c, 6, 100), 4e-6 + 10 * 1e-7 + 200e-9 + 900e-9, 1e-15);
  EXPECT_NEAR(all_to_all_seconds(c.with_ranks(3), 3, 100), 1e-6 + 4 * 1e-7 + 200e-9, 1e-15);
}

TEST(Travel, IsWhatTheRunWouldChoose) {
  StepModel m = sparse_model(64);
  m.exchange.kind = "auto";
  m.exchange.chunks = 0;
  EXPECT_TRUE(choose_travel(m, unit_cluster(1, 1), 1).alone);
  EXPECT_EQ(choose_travel(m, unit_cluster(1, 8), 8).kind, Kind::hierarchical);
  EXPECT_EQ(choose_travel(m, unit_cluster(1, 8), 8).chunks, 1);
  m.exchange.kind = "local";
  EXPECT_THROW(choose_travel(m, unit_cluster(2, 1), 2), UserError);
}

TEST(Engine, HasAName) { EXPECT_THROW(make_engine("guess"), UserError); }

}  // namespace
}  // namespace pleiad::sim
