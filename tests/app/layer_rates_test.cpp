#include "pleiad/app/layer_rates.hpp"

#include <gtest/gtest.h>

#include "pleiad/app/step_model.hpp"

namespace pleiad::app {
namespace {

sim::StepModel layer_of_16_tokens() {
  Config config;
  config.set_all({"model.width=8", "model.layers=1", "model.heads=1", "model.seq_len=8", "moe.router=topk", "moe.experts=4", "moe.expert_width=4", "moe.k=2", "train.lanes=1", "train.batch_sequences=2"});
  return read_simulated_run(config, {}).model;
}

/// So fast that products, elements and bytes take nothing worth mentioning.
sim::Cluster fast_cluster() {
  sim::Cluster c;
  const sim::RateTable flat({1, 1024}, {1, 1024}, {1e30, 1e30, 1e30, 1e30});
  c.compute = {.gemm = flat, .gradient = flat, .bf16 = {}, .attention = {}, .elements = 1e30};
  c.memory = {.stream = 1e30, .cached = {}, .copy = 1e30, .random = sim::RateTable({1}, {1}, {1e30})};
  return c;
}

TEST(LayerRates, ShareOutWhatIsLeft) {
  sim::Cluster c = fast_cluster();
  set_layer_rates(layer_of_16_tokens(), {.router = 16e-6, .plan = 64e-6, .expert = 40e-6}, c);
  EXPECT_NEAR(c.compute.route_seconds, 1e-6, 1e-15) << "16 tokens";
  EXPECT_NEAR(c.compute.plan_seconds, 2e-6, 1e-15) << "32 assignments";
  EXPECT_NEAR(c.compute.call_seconds, 5e-6, 1e-15) << "4 experts in two passes";
}

sim::StepModel layer_of(const std::vector<std::string>& moe) {
  Config config;
  config.set_all({"model.width=8", "model.layers=1", "model.heads=1", "model.seq_len=8", "train.lanes=1", "train.batch_sequences=2"});
  config.set_all(moe);
  return read_simulated_run(config, {}).model;
}

TEST(LayerRates, OfExpertsThatChooseAndOfProductKeysAreThoseOfTheirRouters) {
  sim::Cluster c = fast_cluster();
  c.compute.route_seconds = c.compute.plan_seconds = 0;
  set_layer_rates(layer_of({"moe.router=expert_choice", "moe.allow_noncausal=true", "moe.experts=4", "moe.expert_width=4"}), {.router = 64e-6, .plan = 1, .expert = 1}, c);
  EXPECT_NEAR(c.compute.claim_seconds, 1e-6, 1e-15) << "16 tokens for 4 experts";
  set_layer_rates(layer_of({"moe.preset=peer", "moe.sub_keys=4", "moe.heads=2", "moe.k=4"}), {.router = 256e-6, .plan = 1, .expert = 1}, c);
  EXPECT_NEAR(c.compute.key_seconds, 2e-6, 1e-15) << "16 tokens find 8";
  EXPECT_EQ(c.compute.plan_seconds, 0) << "left as it was";
}

TEST(LayerRates, AreNothingWhereProductsExplainMore) {
  sim::Cluster c = fast_cluster();
  c.compute.elements = 1;
  set_layer_rates(layer_of_16_tokens(), {.router = 1e-6, .plan = 1e-6, .expert = 1e-6}, c);
  EXPECT_EQ(c.compute.route_seconds, 0);
  EXPECT_EQ(c.compute.call_seconds, 0);
  EXPECT_GT(c.compute.plan_seconds, 0);
}

}  // namespace
}  // namespace pleiad::app
