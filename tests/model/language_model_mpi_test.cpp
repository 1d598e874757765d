// The language model on any number of ranks: the bits of one rank, causality, and what a loss report says.
#include "pleiad/comm/collectives.hpp"
#include "model/tiny_model.hpp"

namespace pleiad::model {
namespace {

const Keys k_moe = with(k_tiny_moe, {{"layers", "all"}, {"k", "2"}, {"balance_loss", "0.1"}, {"z_loss", "0.01"}});

ModelTrace forward(TinyModel& tiny, const LaneLayout& lanes, const Batch& batch, bool training) {
  ModelTrace trace;
  tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 1, 0, training}, trace);
  return trace;
}

TEST(LanguageModel, GivesTheBitsOfOneRankAlsoWhenRanksHaveNoTokens) {
  for (const i64 sequences : {11, 2}) {
    TinyModel all(test::grid_of_all(), k_tiny_model, k_moe), truth(test::grid_of_me(), k_tiny_model, k_moe);
    const LaneLayout lanes = all.lanes(8, sequences), whole = truth.lanes(8, sequences);
    const ModelTrace here = forward(all, lanes, TinyModel::batch(lanes, true), true);
    const ModelTrace there = forward(truth, whole, TinyModel::batch(whole, true), true);
    EXPECT_TRUE(test::same_bits(here.log_p, test::my_rows(there.log_p, lanes)));
    EXPECT_EQ(here.report.task, there.report.task);
    EXPECT_EQ(here.report.total, there.report.total);
    EXPECT_EQ(here.report.targets, there.report.targets);
  }
}

TEST(LanguageModel, ReportsMeanCrossEntropyOverCountedTargetsPlusWeightedLosses) {
  TinyModel tiny(test::grid_of_me(), k_tiny_model, k_moe);
  const LaneLayout lanes = tiny.lanes(4, 5);
  const Batch batch = TinyModel::batch(lanes, true);
  const ModelTrace trace = forward(tiny, lanes, batch, true);
  double sum = 0;
  i64 counted = 0;
  for (std::size_t t = 0; t < batch.target.size(); ++t) {
    if (batch.target[t] < 0) continue;
    sum -= static_cast<double>(trace.log_p(static_cast<i64>(t), batch.target[t]));
    ++counted;
  }
  EXPECT_LT(counted, lanes.tokens());
  EXPECT_EQ(trace.report.targets, counted);
  EXPECT_NEAR(trace.report.task, sum / static_cast<double>(counted), 1e-6);
  ASSERT_EQ(trace.report.auxiliary.size(), 2u);
  double total = trace.report.task;
  for (std::size_t i = 0; i < 2; ++i) {
    double mean = 0;
    for (const i64 layer : {0, 1}) mean += trace.blocks[layer].moe.router->losses[i].value / 2;
    EXPECT_NEAR(trace.report.auxiliary[i].value, mean, 1e-12);
    total += trace.report.auxiliary[i].coefficient * mean;
  }
  EXPECT_NEAR(trace.report.total, total, 1e-12);
}

TEST(LanguageModel, EarlierTokensDoNotSeeLaterOnesNorOtherSequencesInEvaluation) {
  for (const char* preset : {"switch", "gshard", "mixtral", "dense"}) {
    const Keys dense = {{"preset", "dense"}}, moe = with(k_tiny_moe, {{"preset", preset}, {"layers", "all"}});
    TinyModel tiny(test::grid_of_all(), with(k_tiny_model, {{"seq_len", "9"}}), preset == std::string("dense") ? dense : moe);
    const LaneLayout lanes = tiny.lanes(8, 8);
    const Batch batch = TinyModel::batch(lanes);
    const Matrix before = forward(tiny, lanes, batch, false).log_p;
    for (const i64 changed : {1, 5, 8}) {
      Batch other = batch;
      const i64 sequences = lanes.my_sequences().count;
      for (i64 s = 0; s < sequences; ++s) {
        for (i64 i = changed; i < 9; ++i) other.input[s * 9 + i] = (other.input[s * 9 + i] + 3) % k_tiny_vocab;
      }
      const Matrix after = forward(tiny, lanes, other, false).log_p;
      for (i64 s = 0; s < sequences; ++s) {
        EXPECT_TRUE(test::same_but_for_rounding(test::rows_of(before, s * 9, changed), test::rows_of(after, s * 9, changed))) << preset << " from " << changed;
        EXPECT_FALSE(test::same_but_for_rounding(test::rows_of(before, s * 9 + changed, 1), test::rows_of(after, s * 9 + changed, 1))) << preset;
      }
    }
  }
}

TEST(LanguageModel, EvaluationDoesNotDependOnStepAndSeed) {
  TinyModel tiny(test::grid_of_all(), k_tiny_model, with(k_tiny_moe, {{"preset", "switch"}}));
  const LaneLayout lanes = tiny.lanes(8, 8);
  const Batch batch = TinyModel::batch(lanes);
  ModelTrace one, two;
  tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 1, 0, false}, one);
  tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 2, 50, false}, two);
  EXPECT_TRUE(test::same_bits(one.log_p, two.log_p));
}

TEST(LanguageModel, InitialWeightsDoNotDependOnTheNumberOfRanks) {
  TinyModel all(test::grid_of_all(), k_tiny_model, k_moe), truth(test::grid_of_me(), k_tiny_model, k_moe);
  for (const ParamInfo& p : all.params.infos()) {
    const ParamInfo* same = truth.params.find(p.name);
    ASSERT_NE(same, nullptr) << p.name;
    const auto here = all.params.slice(p, all.params.values(p.owner)), there = truth.params.slice(*same, truth.params.values(same->owner));
    EXPECT_TRUE(test::same_bits<real>(std::span<const real>(here), std::span<const real>(there))) << p.name;
  }
  i64 mine = 0;
  for (const ParamInfo& p : all.params.infos()) mine += p.owner == Owner::expert;
  i64 whole = 0;
  for (const ParamInfo& p : truth.params.infos()) whole += p.owner == Owner::expert;
  EXPECT_EQ(comm::sum_over<i64>(all.grid.world(), mine), whole) << "every expert parameter on exactly one rank";
}

}  // namespace
}  // namespace pleiad::model
