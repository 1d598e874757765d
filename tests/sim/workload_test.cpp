// What there is to do, counted by hand for a model of a few numbers.
#include "pleiad/sim/workload.hpp"

#include <gtest/gtest.h>

#include "clusters.hpp"

namespace pleiad::sim {
namespace {

/// D = 4, V = 6, two heads, L = 3, one block; two sequences in one lane: T = 6.
StepModel tiny() {
  StepModel m;
  m.model = {.vocab = 6, .width = 4, .layers = 1, .heads = 2, .seq_len = 3, .dense_width = 8, .dense_kind = {}};
  m.batch = 2;
  m.lanes = 1;
  return m;
}
constexpr Share k_all{1, 2};

double flops(const Work& w, Work::Kind kind) {
  double sum = 0;
  for (const Work::Products& p : w.products) sum += p.kind == kind ? p.flops : 0;
  return sum;
}

TEST(Workload, OfAttention) {
  const Work forward = attention_work(tiny(), k_all, Pass::forward), backward = attention_work(tiny(), k_all, Pass::backward);
  // Four products 6 x 4 x 4; a token sees 2 tokens in the mean: 6 x 2 x 2 pairs of a query and a key in two heads of width 2, for scores and for mixing.
  EXPECT_DOUBLE_EQ(flops(forward, Work::Kind::tokens), 4 * 2 * 6 * 4 * 4);
  EXPECT_DOUBLE_EQ(forward.attention.flops, 2 * 2 * 24 * 2);
  EXPECT_DOUBLE_EQ(flops(forward, Work::Kind::weights), 0);
  EXPECT_DOUBLE_EQ(flops(backward, Work::Kind::tokens), 768);
  EXPECT_DOUBLE_EQ(backward.attention.flops, 2 * 192);
  EXPECT_DOUBLE_EQ(flops(backward, Work::Kind::weights), 768);
  EXPECT_DOUBLE_EQ(forward.attention.elements, 24);
  EXPECT_DOUBLE_EQ(forward.attention.streamed, (36 + 4 * 24) * 4);
  EXPECT_DOUBLE_EQ(forward.streamed, 3 * 24 * 4);
  Coverage seen;
  EXPECT_NEAR(seconds_of(forward, unit_cluster(1, 1), seen), 1e-9 * (960 + 24 + 816), 1e-18);
  EXPECT_NEAR(seen.inside, 960e-9, 1e-18);
  EXPECT_EQ(seen.outside, 0);
  // Measured: softmax and weights are in the rate.
  Cluster c = unit_cluster(1, 1);
  c.compute.attention = RateTable({3}, {2}, {1e8});
  EXPECT_NEAR(seconds_of(forward, c, seen), 1e-9 * (768 + 192 * 10 + 288), 1e-15);
  c.compute.attention = RateTable({4}, {2}, {1e8});
  Coverage beyond;
  seconds_of(forward, c, beyond);
  EXPECT_GT(beyond.outside, 0);
}

TEST(Workload, OfARouter) {
  StepModel m = tiny();
  m.moe.layers = {0};
  m.moe.expert_widths.assign(10, 2);
  m.choices = 2;
  m.router_flops = 2 * 4 * 10;
  const Work forward = router_work(m, k_all, Pass::forward), backward = router_work(m, k_all, Pass::backward);
  EXPECT_DOUBLE_EQ(flops(forward, Work::Kind::tokens), 6 * 80);
  EXPECT_DOUBLE_EQ(forward.elements, 60);
  EXPECT_DOUBLE_EQ(forward.routed, 6);
  EXPECT_DOUBLE_EQ(flops(backward, Work::Kind::tokens), 4 * 6 * 2 * 4);
  EXPECT_DOUBLE_EQ(backward.routed, 0);
  Cluster c = unit_cluster(1, 1);
  c.compute.route_seconds = 1e-8;
  Coverage seen;
  EXPECT_NEAR(seconds_of(forward, c, seen), 1e-9 * (480 + 60 + 6 * 10), 1e-15);
  m.claims = 10;
  c.compute.claim_seconds = 1e-7;
  EXPECT_NEAR(seconds_of(router_work(m, k_all, Pass::forward), c, seen), 1e-9 * (480 + 60 + 6 * 10 + 60 * 100), 1e-15);
  // Where every logit has a gradient: that of the tokens and that of the weights.
  m.few_gradients = false;
  const Work dense = router_work(m, k_all, Pass::backward);
  EXPECT_DOUBLE_EQ(flops(dense, Work::Kind::tokens), 480);
  EXPECT_DOUBLE_EQ(flops(dense, Work::Kind::weights), 480);
  EXPECT_DOUBLE_EQ(dense.elements, 60);
  m.router_flops = 0;
  EXPECT_DOUBLE_EQ(router_work(m, k_all, Pass::forward).routed, 0) << "nothing to compute: hash, random";
}

// 2 heads with queries of 6, halves of which meet 5 keys; each head finds 3 of 25 experts.
TEST(Workload, OfProductKeys) {
  StepModel m = tiny();
  m.moe.layers = {0};
  m.moe.bank = routing::Bank::neuron;
  m.moe.expert_widths.assign(25, 1);
  m.heads = 2;
  m.choices = 6;
  m.query = 6;
  m.router_flops = 2 * (4 * 2 * 6 + 2 * 5 * 6);
  const Work forward = router_work(m, k_all, Pass::forward), backward = router_work(m, k_all, Pass::backward);
  EXPECT_DOUBLE_EQ(flops(forward, Work::Kind::tokens), 6 * m.router_flops);
  EXPECT_DOUBLE_EQ(forward.keyed, 36);
  EXPECT_DOUBLE_EQ(forward.routed, 0);
  EXPECT_DOUBLE_EQ(forward.streamed, 5 * 6 * 12 * 4);
  // Queries as a layer of 4 x 12; from each choice to halves of two keys and of the query.
  EXPECT_DOUBLE_EQ(flops(backward, Work::Kind::weights), 2 * 6 * 4 * 12);
  EXPECT_DOUBLE_EQ(flops(backward, Work::Kind::tokens), 2 * 6 * 4 * 12 + 36 * 4 * 6);
  Cluster c = unit_cluster(1, 1);
  Coverage seen;
  const double without = seconds_of(forward, c, seen);
  c.compute.key_seconds = 1e-8;
  EXPECT_NEAR(seconds_of(forward, c, seen) - without, 36e-8, 1e-15);
}

TEST(Workload, OfTheOtherDenseParts) {
  const StepModel m = tiny();
  EXPECT_DOUBLE_EQ(embed_work(m, k_all, Pass::forward).streamed, 2 * 6 * 16);
  EXPECT_DOUBLE_EQ(norm_work(m, k_all).streamed, 2 * 4 * 6 * 16);
  EXPECT_DOUBLE_EQ(flops(dense_ffn_work(m, k_all, Pass::forward), Work::Kind::tokens), 2 * 2 * 6 * 4 * 8);
  EXPECT_DOUBLE_EQ(flops(head_work(m, k_all, Pass::backward), Work::Kind::weights), 2 * 6 * 4 * 6);
  EXPECT_DOUBLE_EQ(head_work(m, k_all, Pass::forward).elements, 36);
  EXPECT_DOUBLE_EQ(m.dense_parameters(), 2 * 24 + 4 + (4 * 16 + 2 * 4) + 2 * 32);
  EXPECT_DOUBLE_EQ(optimizer_work(m, k_all, 10, 0).streamed, 4 * (8 * 188 + 8 * 10));
  EXPECT_DOUBLE_EQ(gradient_work(m, {3, 6}, 2, 10).streamed, 4 * (3 * 2 * 188 + 3 * 188 + 188 + 10));
}

TEST(Workload, ProductsAreOfTheRowsOfALane) {
  const Work w = head_work(tiny(), {2, 4}, Pass::forward);  // 12 tokens in two lanes
  EXPECT_DOUBLE_EQ(w.products.front().rows, 6);
  EXPECT_DOUBLE_EQ(w.products.front().width, 4);
  EXPECT_DOUBLE_EQ(w.products.front().flops, 2 * 12 * 4 * 6);
}

TEST(Workload, OfFeedForwardExperts) {
  StepModel m = tiny();
  m.moe.layers = {0};
  m.moe.expert_widths = {2, 4, 9};
  const std::vector<i64> owned = {0, 1, 2};
  const std::vector<double> rows = {3, 5, 0};
  const Work w = expert_work(m, owned, rows, false, Pass::forward);
  EXPECT_DOUBLE_EQ(flops(w, Work::Kind::tokens), 2 * 2 * 8 * 4 * 2 + 2 * 2 * 8 * 4 * 4);  // in tiles of 8 rows
  EXPECT_DOUBLE_EQ(w.elements, 8 * 2 + 8 * 4);
  EXPECT_DOUBLE_EQ(w.copied, 2 * 8 * 16);
  EXPECT_DOUBLE_EQ(w.calls, 2);
  EXPECT_DOUBLE_EQ(flops(expert_work(m, owned, rows, false, Pass::backward), Work::Kind::weights), 768);
  EXPECT_DOUBLE_EQ(expert_work(m, owned, rows, false, Pass::backward).copied, 3 * 8 * 16);
  EXPECT_DOUBLE_EQ(m.expert_parameters(1), 2 * 4 * 4);
  m.moe.expert_kind.gated = m.moe.expert_kind.rounded = true;
  EXPECT_DOUBLE_EQ(flops(expert_work(m, owned, rows, false, Pass::forward), Work::Kind::bf16), 1.5 * 768);
  EXPECT_DOUBLE_EQ(kept_numbers(m, 1), 8);
}

TEST(Workload, OfExpertsGoesInTilesUnlessTheyAreNarrow) {
  StepModel m = tiny();
  m.model.width = 64;
  m.moe.layers = {0};
  m.moe.expert_widths = {128};
  const std::vector<i64> owned = {0};
  const auto rows_of = [&](double rows) {
    const Work w = expert_work(m, owned, std::vector<double>{rows}, false, Pass::forward);
    return w.products.front().flops / (2.0 * 64 * static_cast<double>(m.moe.expert_widths[0]));
  };
  EXPECT_DOUBLE_EQ(rows_of(60.5), 64);
  EXPECT_DOUBLE_EQ(rows_of(256), 256);
  EXPECT_DOUBLE_EQ(rows_of(257), 264);
  EXPECT_DOUBLE_EQ(rows_of(400), 256 + 160);
  EXPECT_DOUBLE_EQ(expert_work(m, owned, std::vector<double>{400}, false, Pass::forward).products.front().rows, 256);
  m.moe.expert_widths = {64};
  EXPECT_DOUBLE_EQ(rows_of(60.5), 60.5);
  // Tokens are read where they lie, and results added.
  EXPECT_DOUBLE_EQ(expert_work(m, owned, std::vector<double>{10}, false, Pass::forward).copied, 0);
  EXPECT_DOUBLE_EQ(expert_work(m, owned, std::vector<double>{10}, false, Pass::forward).streamed, 3 * 10 * 256);
  EXPECT_DOUBLE_EQ(expert_work(m, owned, std::vector<double>{10}, true, Pass::backward).streamed, 3 * 10 * 256);
}

TEST(Workload, OfSingleNeuronsReadsTheirRowsForEveryToken) {
  StepModel m = tiny();
  m.moe.layers = {0};
  m.moe.bank = routing::Bank::neuron;
  m.moe.expert_widths = {1, 1, 1};
  const std::vector<i64> owned = {0, 1, 2};
  const std::vector<double> rows = {2, 0, 1};
  const Work forward = expert_work(m, owned, rows, false, Pass::forward), backward = expert_work(m, owned, rows, false, Pass::backward);
  EXPECT_DOUBLE_EQ(forward.random, 3 * 2 * 16);             // u and v for each of three rows
  EXPECT_DOUBLE_EQ(backward.random, 3 * 2 * 16);            // again
  EXPECT_DOUBLE_EQ(backward.copied, 2 * 2 * 16);            // gradients of two experts
  EXPECT_DOUBLE_EQ(expert_work(m, owned, rows, true, Pass::forward).copied, 3 * 16) << "each result for itself";
  EXPECT_DOUBLE_EQ(forward.random_row, 16);
  // Caches that are twice as fast as memory hold the rows, three experts with two rows of 16 bytes: half the time.
  Cluster c = unit_cluster(1, 1);
  Coverage seen;
  const double slow = seconds_of(forward, c, seen);
  c.memory.random = RateTable({1, 1 << 20}, {96, 1000}, {2e9, 1e9, 2e9, 1e9});
  EXPECT_NEAR(slow - seconds_of(forward, c, seen), 1e-9 * forward.random / 2, 1e-15);
  EXPECT_NEAR(c.memory.random_of(16, 0), 1e9, 1);
  EXPECT_NEAR(c.memory.random_of(16, 5), 2e9, 1) << "less than the least is as fast";
  EXPECT_DOUBLE_EQ(flops(forward, Work::Kind::tokens), 3 * 4 * 4);
  EXPECT_DOUBLE_EQ(m.expert_parameters(0), 8);
}

TEST(Coverage, KnowsWhatIsOutside) {
  Cluster c = unit_cluster(1, 1);
  c.compute.gemm = RateTable({10, 100}, {10, 100}, {1e9, 1e9, 1e9, 1e9});
  Work w;
  w.products = {{20, 20, 1000, Work::Kind::tokens}, {5, 20, 1000, Work::Kind::tokens}, {20, 400, 500, Work::Kind::tokens}};
  Coverage seen;
  EXPECT_NEAR(seconds_of(w, c, seen), 1e-9 * (1000 + 2000 + 500), 1e-15);  // half the rate for half the rows
  EXPECT_NEAR(seen.outside, 2500e-9, 1e-15);
  EXPECT_EQ(seen.least_rows, 5);
  EXPECT_EQ(seen.most_width, 400);
}

}  // namespace
}  // namespace pleiad::sim
