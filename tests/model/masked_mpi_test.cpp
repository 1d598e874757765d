// The encoder of masked tokens: the bits of one rank on any number of ranks, attention to both sides, a loss over hidden tokens alone, and routers that look
// at later tokens without asking.
#include "model/tiny_model.hpp"
#include "pleiad/comm/lane_sum.hpp"

namespace pleiad::model {
namespace {

const Keys k_long = with(k_tiny_model, {{"seq_len", "9"}});

const Keys k_variants[] = {
    with(k_tiny_moe, {{"preset", "switch"}, {"balance_loss", "0.1"}, {"capacity_factor", "0.8"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"preset", "gshard"}, {"capacity_factor", "0.8"}, {"eval_capacity", "train"}}),
    with(k_tiny_moe, {{"router", "damoe"}, {"balance_loss", "0.1"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "damoe"}, {"k_rule", "budget"}, {"importance", "received"}}),
    with(k_tiny_moe, {{"router", "damoe"}, {"importance", "column"}}),
    with(k_tiny_moe, {{"router", "expert_choice"}, {"choices", "1.5"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "topp"}, {"p", "0.6"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "matched_topk"}, {"mean_k", "2.4"}}),
    with(k_tiny_moe, {{"router", "random_k"}, {"k_histogram", "3,2,1"}}),
    {{"preset", "dense"}},
};

struct Step {
  Step(comm::ProcessGrid over, const Keys& moe, i64 sequences)
      : tiny(std::move(over), k_long, moe, exchange::Combine::home, 0, Task::masked_lm), lanes(tiny.lanes(8, sequences)), batch(TinyModel::masked(lanes)) {
    tiny.shake();
    run(true);
  }
  void run(bool training) { tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 11, 2, training}, trace); }
  std::vector<real> dense_gradient() {
    tiny.params.allocate_grads(lanes.my_lanes().count);
    tiny.model->backward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 11, 2, true}, trace);
    const std::span<real> grads = tiny.params.grads(Owner::replicated);
    const i64 size = tiny.params.size(Owner::replicated);
    comm::lane_sum<real>(tiny.grid.world(), lanes, grads.data(), size, grads.first(static_cast<std::size_t>(size)));
    return {grads.begin(), grads.begin() + size};
  }
  TinyModel tiny;
  LaneLayout lanes;
  Batch batch;
  ModelTrace trace;
};

TEST(MaskedTokens, GiveTheBitsOfOneRankAlsoWhenRanksHaveNoSequences) {
  for (const Keys& keys : k_variants) {
    for (const i64 sequences : {13, 2}) {
      Step all(test::grid_of_all(), keys, sequences), truth(test::grid_of_me(), keys, sequences);
      SCOPED_TRACE(fmt::format("{}, {} sequences", name_of(keys), sequences));
      EXPECT_TRUE(test::same_bits(all.trace.log_p, test::my_rows(truth.trace.log_p, all.lanes)));
      EXPECT_EQ(all.trace.report.task, truth.trace.report.task);
      EXPECT_EQ(all.trace.report.total, truth.trace.report.total);
      EXPECT_EQ(all.trace.report.targets, truth.trace.report.targets);
      EXPECT_EQ(all.dense_gradient(), truth.dense_gradient());
    }
  }
}

TEST(MaskedTokens, AreSeenFromBothSides) {
  for (const Keys& keys : k_variants) {
    SCOPED_TRACE(name_of(keys));
    Step step(test::grid_of_me(), keys, 1);
    step.run(false);
    const Matrix before = test::rows_of(step.trace.log_p, 0, 9);
    for (const i64 at : {i64{0}, i64{8}}) {
      std::int32_t& token = step.batch.input[at];
      const std::int32_t was = std::exchange(token, (token + 3) % k_tiny_vocab);
      step.run(false);
      token = was;
      for (const i64 other : {i64{0}, i64{4}, i64{8}}) {
        EXPECT_FALSE(test::same_bits(test::rows_of(before, other, 1), test::rows_of(step.trace.log_p, other, 1))) << "token " << at << " seen by " << other;
      }
    }
  }
}

TEST(MaskedTokens, AreTheOnlyOnesCounted) {
  Step step(test::grid_of_me(), k_variants[0], 5);
  double sum = 0;
  i64 counted = 0;
  for (std::size_t t = 0; t < step.batch.target.size(); ++t) {
    if (step.batch.input[t] != k_tiny_vocab - 1 || t % 4 != 1) continue;
    sum -= static_cast<double>(step.trace.log_p(static_cast<i64>(t), step.batch.target[t]));
    ++counted;
  }
  EXPECT_EQ(counted, 11);
  EXPECT_EQ(step.trace.report.targets, counted);
  EXPECT_NEAR(step.trace.report.task, sum / static_cast<double>(counted), 1e-6);
}

// Of 45 tokens of five sequences; a batch without any hidden token has no loss and no gradient of its head.
TEST(MaskedTokens, MayBeNone) {
  Step step(test::grid_of_all(), k_variants[9], 5);
  std::ranges::fill(step.batch.target, -1);
  step.run(true);
  EXPECT_EQ(step.trace.report.task, 0);
  EXPECT_EQ(step.trace.report.targets, 0);
  for (const real g : step.dense_gradient()) EXPECT_EQ(g, real(0));
}

}  // namespace
}  // namespace pleiad::model
