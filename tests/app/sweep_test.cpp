// Sweeps: the grid of points and the figures in the table.
#include <gtest/gtest.h>

#include "pleiad/app/sweep.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {
namespace {

using Points = std::vector<std::vector<std::string>>;

TEST(Sweep, SeveralMakeAGridAndTheLastVariesFastest) {
  const std::vector<Sweep> sweeps = {Sweep::parse("moe.k=1,2"), Sweep::parse("moe.eval_capacity=train,dropless")};
  EXPECT_EQ(grid_of(sweeps), (Points{{"moe.k=1", "moe.eval_capacity=train"},
                                     {"moe.k=1", "moe.eval_capacity=dropless"},
                                     {"moe.k=2", "moe.eval_capacity=train"},
                                     {"moe.k=2", "moe.eval_capacity=dropless"}}));
  EXPECT_EQ(grid_of({Sweep::parse("moe.k=3")}), (Points{{"moe.k=3"}}));
}

TEST(Sweep, OtherFormsAreRefused) {
  for (const char* text : {"", "moe.k", "moe.k=", "k=1", "moe.k=1,,2", "moe.k=,1", "moe.k=1,", "moe=1.5"}) {
    EXPECT_THROW(Sweep::parse(text), UserError) << text;
  }
  EXPECT_THROW(grid_of({Sweep::parse("moe.k=1"), Sweep::parse("moe.k=2")}), UserError);
}

train::EvalReport report() {
  train::EvalReport r;
  r.targets = 100;
  r.loss = 2;
  r.figures.resize(2);
  r.figures[0].mean_k = 1.5;
  r.figures[1].mean_k = 2.5;
  r.expert_flops_per_token = 1234;
  return r;
}

TEST(Sweep, MeanKIsKeptExpertsPerTokenAndLayer) {
  const SweepRow row = SweepRow::of({"moe.threshold=0.5"}, report());
  EXPECT_DOUBLE_EQ(row.mean_k, 400.0 / 100 / 2);
  EXPECT_EQ(row.values, std::vector<std::string>{"0.5"});
  train::EvalReport dense = report();
  dense.figures.clear();
  EXPECT_EQ(SweepRow::of({"moe.threshold=0.5"}, dense).mean_k, 0);
}

TEST(Sweep, TheFloorIsAColumnOnlyWhereItIsKnown) {
  const std::vector<Sweep> sweeps = {Sweep::parse("data.corpus=a.h5,b.h5")};
  train::EvalReport known = report();
  known.floor = 1.5;
  const SweepRow without = SweepRow::of({"data.corpus=a.h5"}, report()), with = SweepRow::of({"data.corpus=b.h5"}, known);
  EXPECT_EQ(sweep_csv(sweeps, {without}), "data.corpus,loss,perplexity,mean_k,expert_flops_per_token\na.h5,2,7.38905609893065,2,1234\n");
  EXPECT_EQ(sweep_csv(sweeps, {without, with}),
            "data.corpus,loss,above_floor,perplexity,mean_k,expert_flops_per_token\n"
            "a.h5,2,,7.38905609893065,2,1234\nb.h5,2,0.5,7.38905609893065,2,1234\n");
  EXPECT_EQ(sweep_table(sweeps, {with}), "data.corpus      loss  above floor  perplexity   mean K  expert flops/token\n"
                                         "       b.h5    2.0000       0.5000      7.3891    2.000                1234\n");
}

}  // namespace
}  // namespace pleiad::app
