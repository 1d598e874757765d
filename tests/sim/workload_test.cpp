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
  c.compute.plan_seconds = 1e-7;
  EXPECT_NEAR(seconds_of(router_work(m, k_all, Pass::forward), c, seen), 1e-9 * (480 + 60 + 6 * 10 + 60 * 100), 1e-15);
  m.router_flops = 0;
  EXPECT_DOUBLE_EQ(router_work(m, k_all, Pass::forward).routed, 0) << "nothing to compute: hash, random";
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
  const Work w = expert_work(m, owned, rows, Pass::forward);
  EXPECT_DOUBLE_EQ(flops(w, Work::Kind::tokens), 2 * 2 * 3 * 4 * 2 + 2 * 2 * 5 * 4 * 4);
  EXPECT_DOUBLE_EQ(w.elements, 3 * 2 + 5 * 4);
  EXPECT_DOUBLE_EQ(w.copied, 2 * 8 * 16);
  EXPECT_DOUBLE_EQ(w.calls, 2);
  EXPECT_DOUBLE_EQ(flops(expert_work(m, owned, rows, Pass::backward), Work::Kind::weights), 416);
  EXPECT_DOUBLE_EQ(m.expert_parameters(1), 2 * 4 * 4);
  m.moe.expert_kind.gated = m.moe.expert_kind.rounded = true;
  EXPECT_DOUBLE_EQ(flops(expert_work(m, owned, rows, Pass::forward), Work::Kind::bf16), 1.5 * 416);
  EXPECT_DOUBLE_EQ(kept_numbers(m, 1), 8);
}

TEST(Workload, OfSingleNeuronsReadsTheirRowsForEveryToken) {
  StepModel m = tiny();
  m.moe.layers = {0};
  m.moe.bank = routing::Bank::neuron;
  m.moe.expert_widths = {1, 1, 1};
  const std::vector<i64> owned = {0, 1, 2};
  const std::vector<double> rows = {2, 0, 1};
  const Work forward = expert_work(m, owned, rows, Pass::forward), backward = expert_work(m, owned, rows, Pass::backward);
  EXPECT_DOUBLE_EQ(forward.random, 3 * 2 * 16);             // u and v for each of three rows
  EXPECT_DOUBLE_EQ(backward.random, (2 * 3 + 1) * 2 * 16);  // again, and their gradients, of which one is added to another
  EXPECT_DOUBLE_EQ(forward.random_row, 16);
  // Caches that are twice as fast as memory hold the rows: half the time.
  Cluster c = unit_cluster(1, 1);
  Coverage seen;
  const double slow = seconds_of(forward, c, seen);
  c.memory.cached = RateTable({1, 1 << 20}, {1}, {2e9, 2e9});
  EXPECT_NEAR(slow - seconds_of(forward, c, seen), 1e-9 * forward.random / 2, 1e-15);
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
