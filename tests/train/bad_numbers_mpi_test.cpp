// Steps with numbers that are not finite: found, located, and not followed by an update or a checkpoint.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "pleiad/comm/collectives.hpp"
#include "train/tiny_run.hpp"

namespace pleiad::train {
namespace {

using model::Keys, model::k_tiny_moe, model::with;

class Bad : public KeepingSink {
 public:
  void on_bad_numbers(const BadNumbers& bad, const std::string& then) override {
    found.push_back(bad);
    done.push_back(then);
  }
  std::vector<BadNumbers> found;
  std::vector<std::string> done;
};

/// A run whose weights can be spoilt between its steps.
struct SpoiltRun : TinyRun {
  SpoiltRun(const Keys& moe, const Keys& train) : TinyRun(test::grid_of_all(), moe, with({{"steps", "12"}, {"eval_every", "0"}}, train)) {
    trainer.emplace(config, *tiny.model, source, tiny.grid, std::vector<MetricSink*>{&bad}, store, SamplePlan{});
  }

  /// All values of a parameter, where this rank has it.
  void set(const std::string& name, real value) {
    const ParamInfo* p = tiny.params.find(name);
    EXPECT_GT(comm::max_over<i64>(tiny.grid.world(), p != nullptr), 0) << name;
    if (p) std::ranges::fill(tiny.params.slice(*p, tiny.params.values(p->owner)), value);
  }
  std::vector<real> weights() {
    std::vector<real> all(tiny.params.values(Owner::replicated).begin(), tiny.params.values(Owner::replicated).end());
    const auto experts = tiny.params.values(Owner::expert);
    all.insert(all.end(), experts.begin(), experts.end());
    return all;
  }

  /// Runs into the end by such numbers, the first of which are there.
  void expect_ends_at(const std::string& where) {
    EXPECT_EQ(trainer->run(*state, 12), PartEnd::bad_numbers);
    ASSERT_FALSE(bad.found.empty());
    EXPECT_EQ(bad.found[0].where.find(where), 0u) << bad.found[0].where;
  }

  Bad bad;
};

const Keys k_topk = with(k_tiny_moe, {{"router", "topk"}, {"k", "2"}});
constexpr real k_huge = std::numeric_limits<real>::max() / 2, k_nan = std::numeric_limits<real>::quiet_NaN();

TEST(BadNumbers, AWeightThatIsNone) {
  SpoiltRun run(k_topk, {});
  run.set("blocks/1/ffn/experts/2/w_in", k_nan);
  EXPECT_EQ(run.trainer->run(*run.state, 12), PartEnd::bad_numbers);
  EXPECT_EQ(run.state->step, 0);
  ASSERT_EQ(run.bad.found.size(), 2u) << "the step, and the state that is not saved";
  EXPECT_EQ(run.bad.found[0].step, 1);
  EXPECT_EQ(run.bad.found[0].where, "weight blocks/1/ffn/experts/2/w_in, number 0");
  EXPECT_TRUE(run.store.steps.empty());
}

TEST(BadNumbers, AnExpertThatOverflows) {
  for (const char* expert : {"0", "2", "3"}) {
    SpoiltRun run(k_topk, {});
    run.set(fmt::format("blocks/1/ffn/experts/{}/w_in", expert), 1e30f);
    run.set(fmt::format("blocks/1/ffn/experts/{}/w_out", expert), k_huge);
    run.expect_ends_at(fmt::format("output of expert {} of block 1 (row ", expert));
    ASSERT_FALSE(run.bad.found.empty());
    const std::vector<i64>& owned = run.tiny.model->blocks()[1].moe()->expert_map().owned_by(run.bad.found[0].rank);
    EXPECT_EQ(std::ranges::count(owned, std::stoll(expert)), 1) << "of the rank that has it";
    EXPECT_EQ(run.store.steps, std::vector<i64>{0}) << "the weights are finite: the state before the step is saved";
    EXPECT_EQ(run.bad.done[0], "the run ends (train.bad_numbers = stop)");
  }
}

TEST(BadNumbers, AnExpertOfAMillionThatOverflows) {
  SpoiltRun run({{"router", "peer"}, {"sub_keys", "5"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "4"}, {"layers", "1"}}, {});
  run.set("blocks/1/ffn/peer/u", 1e30f);
  run.set("blocks/1/ffn/peer/v", k_huge);
  run.expect_ends_at("output of expert ");
}

TEST(BadNumbers, ABlockWithoutExperts) {
  SpoiltRun run(k_topk, {});
  run.set("blocks/0/ffn/experts/0/w_in", 1e30f);
  run.set("blocks/0/ffn/experts/0/w_out", k_huge);
  run.expect_ends_at("output of block 0 (row ");
}

// Spoilt after step 3, mended after step 4, which is passed over: weights and moments are those after step 3, and the run learns on.
TEST(BadNumbers, AStepIsSkipped) {
  SpoiltRun run(k_topk, {{"bad_numbers", "skip"}});
  const std::string name = "blocks/1/ffn/experts/1/w_out";
  std::vector<real> before, good, moments;
  const auto first = [&] { return std::vector<real>(run.adam->first(Owner::expert).begin(), run.adam->first(Owner::expert).end()); };
  const auto after_step = [&] {
    const ParamInfo* p = run.tiny.params.find(name);
    if (run.state->step == 3) {
      before = run.weights();
      moments = first();
      if (p) good.assign(run.tiny.params.slice(*p, run.tiny.params.values(p->owner)).begin(), run.tiny.params.slice(*p, run.tiny.params.values(p->owner)).end());
      run.set("blocks/1/ffn/experts/1/w_out", k_nan);
    } else if (run.state->step == 4) {
      if (p) std::ranges::copy(good, run.tiny.params.slice(*p, run.tiny.params.values(p->owner)).begin());
      EXPECT_EQ(run.weights(), before);
      EXPECT_EQ(first(), moments);
    }
    return false;
  };
  EXPECT_EQ(run.trainer->run(*run.state, 12, after_step), PartEnd::done);
  EXPECT_EQ(run.state->step, 12);
  EXPECT_EQ(run.state->bad_steps, 1);
  ASSERT_EQ(run.bad.records.size(), 12u);
  for (const StepRecord& r : run.bad.records) EXPECT_EQ(r.skipped, r.step == 4);
  EXPECT_FALSE(std::isfinite(run.bad.records[3].loss.total));
  EXPECT_TRUE(std::isfinite(run.bad.records[4].loss.total));
  EXPECT_NE(run.weights(), before) << "it went on";
}

TEST(BadNumbers, TooManyEndTheRun) {
  for (const char* policy : {"skip", "roll_back"}) {
    SpoiltRun run(k_topk, {{"bad_numbers", policy}, {"bad_steps_most", "3"}});
    run.set("blocks/1/ffn/experts/2/w_out", k_nan);
    run.state->bad_steps = policy == std::string("skip") ? 0 : 2;
    EXPECT_EQ(run.trainer->run(*run.state, 12), PartEnd::bad_numbers) << policy;
    EXPECT_EQ(run.state->bad_steps, 3);
    EXPECT_EQ(run.bad.done[policy == std::string("skip") ? 2 : 0], "the run ends: bad step 3 (train.bad_steps_most)");
  }
}

TEST(BadNumbers, RollingBackIsLeftToWhoHasTheCheckpoints) {
  SpoiltRun run(k_topk, {{"bad_numbers", "roll_back"}});
  const auto spoil = [&] {
    if (run.state->step == 5) run.set("embed", k_nan);
    return false;
  };
  EXPECT_EQ(run.trainer->run(*run.state, 12, spoil), PartEnd::roll_back);
  EXPECT_EQ(run.trainer->bad_numbers().step, 6);
  EXPECT_EQ(run.state->data_cursor(), 5) << "of the batch that is to be passed over";
  EXPECT_EQ(run.state->bad_steps, 1);
  EXPECT_TRUE(run.store.steps.empty());
}

// After a rollback the batches of the steps that were lost, and the bad one, are passed over.
TEST(BadNumbers, BatchesArePassedOver) {
  class Later : public MadeUpSource {
    model::Batch training(i64 step, const LaneLayout& lanes) override { return MadeUpSource::training(step + 4, lanes); }
  };
  SpoiltRun run(k_topk, {}), truth(k_topk, {});
  run.state->batches_passed_over = 4;
  run.trainer->run(*run.state, 6);
  Later later;
  truth.trainer.emplace(truth.config, *truth.tiny.model, later, truth.tiny.grid, std::vector<MetricSink*>{&truth.bad}, truth.store, SamplePlan{});
  truth.trainer->run(*truth.state, 6);
  EXPECT_EQ(run.weights(), truth.weights());
}

// An update can overflow though loss and gradient did not.
TEST(BadNumbers, AStateThatIsNotFiniteIsNotSaved) {
  SpoiltRun run(k_topk, {{"warmup_steps", "0"}});
  run.config.checkpoint_every = 1;
  run.config.schedule.peak = 1e39;
  EXPECT_EQ(run.trainer->run(*run.state, 12), PartEnd::bad_numbers);
  EXPECT_EQ(run.state->step, 1);
  EXPECT_TRUE(run.store.steps.empty());
  ASSERT_EQ(run.bad.done.size(), 1u);
  EXPECT_EQ(run.bad.done[0], "the state is not saved and the run ends");
}

}  // namespace
}  // namespace pleiad::train
