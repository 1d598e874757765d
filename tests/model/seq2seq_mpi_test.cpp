// Sequence to sequence by prefixes: the bits of one rank on any number of ranks, the source seen both ways, the target only from behind, padding
// that matters to nobody, and a loss on the target alone.
#include "model/tiny_model.hpp"
#include "pleiad/comm/lane_sum.hpp"

namespace pleiad::model {
namespace {

constexpr i64 k_length = 9;
const Keys k_long = with(k_tiny_model, {{"seq_len", "9"}});

const Keys k_variants[] = {
    with(k_tiny_moe, {{"preset", "gshard"}, {"balance_loss", "0.1"}, {"capacity_factor", "0.8"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"preset", "xmoe"}, {"threshold", "0.6"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"preset", "hmoe"}, {"expert_widths", "5,3,1,6"}, {"penalty_loss", "0.1"}}),
    with(k_tiny_moe, {{"router", "sigmoid_bias"}, {"k", "2"}, {"layers", "all"}}),
    with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"k", "2"}, {"layers", "all"}}),
    {{"preset", "peer"}, {"sub_keys", "3"}, {"heads", "2"}, {"k", "2"}, {"query_dim", "4"}, {"layers", "1"}},
    {{"preset", "dense"}},
};

struct Step {
  Step(comm::ProcessGrid over, const Keys& moe, i64 sequences, std::int32_t padding = 0, bool training = true)
      : tiny(std::move(over), k_long, moe), lanes(tiny.lanes(8, sequences)), batch(TinyModel::pairs(lanes, padding)) {
    tiny.shake();
    run(training);
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

TEST(SequenceToSequence, GivesTheBitsOfOneRankAlsoWhenRanksHaveNoSequences) {
  for (const Keys& keys : k_variants) {
    for (const i64 sequences : {13, 2}) {
      Step all(test::grid_of_all(), keys, sequences), truth(test::grid_of_me(), keys, sequences);
      SCOPED_TRACE(fmt::format("{}, {} sequences", name_of(keys), sequences));
      const Range mine = all.lanes.my_sequences();
      EXPECT_TRUE(test::same_bits(all.trace.log_p, test::rows_of(truth.trace.log_p, mine.begin * k_length, mine.count * k_length)));
      EXPECT_EQ(all.trace.report.task, truth.trace.report.task);
      EXPECT_EQ(all.trace.report.total, truth.trace.report.total);
      EXPECT_EQ(all.trace.report.targets, truth.trace.report.targets);
      EXPECT_EQ(all.dense_gradient(), truth.dense_gradient());
    }
  }
}

TEST(SequenceToSequence, DoesNotCareWhatStandsInThePadding) {
  for (const Keys& keys : k_variants) {
    Step zeros(test::grid_of_all(), keys, 13, 0), fives(test::grid_of_all(), keys, 13, 5);
    SCOPED_TRACE(name_of(keys));
    EXPECT_EQ(zeros.trace.report.total, fives.trace.report.total);
    for (i64 s = 0; s < zeros.lanes.my_sequences().count; ++s) {
      const i64 length = zeros.batch.length[s];
      EXPECT_TRUE(test::same_bits(test::rows_of(zeros.trace.log_p, s * k_length, length), test::rows_of(fives.trace.log_p, s * k_length, length)));
    }
    EXPECT_EQ(zeros.dense_gradient(), fives.dense_gradient());
  }
}

TEST(SequenceToSequence, SeesTheSourceBothWaysAndTheTargetFromBehind) {
  for (const Keys& keys : k_variants) {
    SCOPED_TRACE(name_of(keys));
    Step step(test::grid_of_me(), keys, 13, 0, false);
    const Matrix before = test::rows_of(step.trace.log_p, 0, step.trace.log_p.rows());
    i64 sources = 0, targets = 0;
    for (i64 s = 0; s < 13; ++s) {
      const i64 length = step.batch.length[s], prefix = step.batch.prefix[s];
      const auto changed_rows = [&](i64 at) {
        std::int32_t& token = step.batch.input[s * k_length + at];
        const std::int32_t was = token;
        token = (token + 3) % k_tiny_vocab;
        step.run(false);
        token = was;
        i64 same = 0;  // rows of this sequence that stay as they are, from the first on
        while (same < length && test::same_but_for_rounding(test::rows_of(before, s * k_length + same, 1), test::rows_of(step.trace.log_p, s * k_length + same, 1))) ++same;
        return same;
      };
      if (prefix >= 2) {
        EXPECT_EQ(changed_rows(prefix - 1), 0) << "the first token of a source sees its last one";
        ++sources;
      }
      if (prefix < length) {
        EXPECT_EQ(changed_rows(length - 1), length - 1) << "a target token is seen from itself on only";
        ++targets;
      }
    }
    EXPECT_GT(sources, 3);
    EXPECT_GT(targets, 3);
  }
}

TEST(SequenceToSequence, CountsTargetsOnly) {
  Step step(test::grid_of_me(), k_variants[1], 13);
  double sum = 0;
  i64 counted = 0;
  for (i64 s = 0; s < 13; ++s) {
    for (i64 i = step.batch.prefix[s] - 1; i < step.batch.length[s]; ++i) {
      sum -= static_cast<double>(step.trace.log_p(s * k_length + i, step.batch.target[s * k_length + i]));
      ++counted;
    }
  }
  EXPECT_EQ(step.trace.report.targets, counted);
  EXPECT_NEAR(step.trace.report.task, sum / static_cast<double>(counted), 1e-6);
}

}  // namespace
}  // namespace pleiad::model
