// What a prediction takes for the sizes of a model, against the model itself.
#include "pleiad/app/step_model.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/sim/prediction.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::app {
namespace {

sim::Cluster one_node() {
  sim::Cluster c;
  c.nodes = c.ranks_per_node = c.cores = 1;
  const sim::RateTable flat({1, 1e6}, {1, 1e6}, {1e9, 1e9, 1e9, 1e9});
  c.compute = {.gemm = flat, .gradient = flat, .bf16 = {}, .attention = {}, .elements = 1e9, .route_seconds = 0, .plan_seconds = 0, .call_seconds = 0};
  c.memory = {.stream = 1e9, .cached = {}, .copy = 1e9, .random = sim::RateTable({1, 1e6}, {1}, {1e9, 1e9})};
  c.slowness = {1};
  return c;
}

/// `share`: how far parameters may be off, as biases and norms of routers are not counted.
void expect_as_built(const std::string& moe, double share) {
  const std::string text = "[model]\nvocab = 100\nwidth = 32\nlayers = 3\nheads = 2\nseq_len = 16\ndense_width = 48\n[train]\nbatch_sequences = 4\nlanes = 2\n[moe]\n" + moe;
  Config config = Config::parse(text, "test");
  const SimulatedRun run = read_simulated_run(config, {});
  Config again = Config::parse(text, "test");
  const comm::Communicator self = comm::Communicator::alone();
  const ModelSetup setup(self, again, {100}, SetupFor::sizes);
  const ParameterCount n = count_parameters(setup);
  EXPECT_NEAR(run.model.dense_parameters(), static_cast<double>(n.dense), share * static_cast<double>(n.dense)) << moe;
  double experts = 0;
  for (i64 e = 0; e < run.model.experts(); ++e) experts += static_cast<double>(run.model.moe_layers()) * run.model.expert_parameters(e);
  EXPECT_DOUBLE_EQ(experts, static_cast<double>(n.total - n.dense)) << moe;
  const double choices = selected_per_token(setup);
  EXPECT_DOUBLE_EQ(run.model.choices, choices);
  // All experts alike: then the operations do not depend on who is asked for.
  const auto demand = sim::make_up({}, run.shape);
  const auto engine = sim::make_engine("analytic");
  const sim::Prediction p = sim::predict({run.model, one_node(), 1, *demand, *engine, 0});
  const double flops = 3 * model_sizes(setup, choices).flops_per_token * 64;
  EXPECT_NEAR(p.flops, flops, 1e-9 * flops) << moe;
}

TEST(StepModel, HasTheSizesOfTheModel) {
  expect_as_built("layers = none\nexperts = 4\n", 0);
  expect_as_built("preset = mixtral\nexperts = 8\nexpert_width = 24\n", 0);
  expect_as_built("preset = switch\nexperts = 6\nexpert_width = 24\nlayers = 0,2\ncapacity_factor = 0\n", 0);
  expect_as_built("router = topk\nk = 2\nexperts = 6\nexpert_width = 24\nactivation = gelu\nexpert_bias = true\n", 0);
  expect_as_built("router = hash\nexperts = 6\nexpert_width = 24\n", 0);
  expect_as_built("router = topk\nk = 2\nexperts = 6\nexpert_width = 24\nadapter = shared\nadapter_width = 5\n", 0);
  expect_as_built("preset = peer\nsub_keys = 8\nheads = 2\nk = 4\n", 0.05);
  expect_as_built("preset = pkm\nsub_keys = 8\nheads = 2\nk = 4\n", 0.05);
}

TEST(StepModel, WantsToKnowHowManyExpertsATokenHas) {
  const auto read = [](const std::string& moe, const KnownChoices& known) {
    Config config = Config::parse("[moe]\n" + moe, "test");
    return read_simulated_run(config, known).model.choices;
  };
  EXPECT_EQ(read("router = topp\n", {.said = 1.5}), 1.5);
  EXPECT_EQ(read("router = topk\nk = 2\n", {.recorded = 1.25}), 1.25);
  EXPECT_THROW(read("router = topp\n", {}), UserError);
  EXPECT_THROW(read("router = topk\nk = 2\n", {.said = 2}), UserError);
  EXPECT_THROW(read("router = topp\nexperts = 4\n", {.said = 5}), UserError);
  EXPECT_THROW(read("router = topk\nrotuer = topk\n", {}), UserError);
}

TEST(StepModel, KnowsWhichLogitsHaveAGradient) {
  const auto few = [](const std::string& moe) {
    Config config = Config::parse("[moe]\n" + moe, "test");
    return read_simulated_run(config, {.recorded = 1.5}).model.few_gradients;
  };
  EXPECT_TRUE(few("router = topk\nk = 2\nexperts = 16\n"));
  EXPECT_FALSE(few("router = topk\nk = 2\nexperts = 4\n")) << "not few of all";
  EXPECT_FALSE(few("router = topk\nk = 1\nexperts = 16\n")) << "the weight is a probability, which every logit changes";
  EXPECT_FALSE(few("router = topk\nk = 2\nexperts = 16\nbalance_loss = 0.01\n"));
  EXPECT_FALSE(few("router = expert_choice\nexperts = 16\nallow_noncausal = true\n"));
  Config keys = Config::parse("[moe]\npreset = peer\nsub_keys = 4\nk = 2\nquery_dim = 12\n", "test");
  EXPECT_EQ(read_simulated_run(keys, {}).model.query, 12);
}

TEST(StepModel, SharesOutTheCapacity) {
  Config config = Config::parse("[moe]\nrouter = topk\nk = 2\nexperts = 8\ncapacity_factor = 1.5\n", "test");
  EXPECT_DOUBLE_EQ(read_simulated_run(config, {}).shape.capacity, 1.5 * 2 / 8);
}

}  // namespace
}  // namespace pleiad::app
