// The classifier on any number of ranks: the bits of one rank, also of its gradients, and padding that matters to nobody.
#include "model/tiny_classifier.hpp"
#include "pleiad/comm/lane_sum.hpp"

namespace pleiad::model {
namespace {

const Keys k_long = with(k_tiny_model, {{"seq_len", "9"}});

const Keys k_variants[] = {
    with(k_tiny_moe, {{"k", "2"}, {"balance_loss", "0.1"}, {"capacity_factor", "0.8"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"preset", "switch"}, {"z_loss", "0.1"}, {"entropy_loss", "0.1"}}),
    with(k_tiny_moe, {{"router", "topp"}, {"penalty_loss", "0.1"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "damoe"}, {"balance_loss", "0.1"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "damoe"}, {"k_rule", "budget"}, {"importance", "column"}}),
    with(k_tiny_moe, {{"router", "sigmoid_bias"}, {"k", "2"}, {"layers", "all"}}),
    with(k_tiny_moe, {{"router", "expert_choice"}, {"choices", "1.5"}}),
    with(k_tiny_moe, {{"router", "hash"}, {"k", "2"}}),
    with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"k", "2"}, {"layers", "all"}}),
    {{"preset", "dense"}},
};

/// One step, forward and backward, with gradients summed over lanes.
struct Step {
  Step(comm::ProcessGrid over, const Keys& moe, i64 sequences, i64 length = 9, std::int32_t padding = 0, bool training = true)
      : tiny(std::move(over), k_long, moe), lanes(tiny.lanes(8, sequences, length)), batch(TinyClassifier::batch(lanes, 6, padding)) {
    const StepContext context{tiny.grid, lanes, tiny.times, 11, 2, training};
    tiny.model->forward(tiny.params, batch, context, trace);
    tiny.params.allocate_grads(lanes.my_lanes().count);
    tiny.model->backward(tiny.params, batch, context, trace);
    const std::span<real> grads = tiny.params.grads(Owner::replicated);
    const i64 size = tiny.params.size(Owner::replicated);
    comm::lane_sum<real>(tiny.grid.world(), lanes, grads.data(), size, grads.first(static_cast<std::size_t>(size)));
    tiny.model->update_buffers(tiny.params, context, trace);
  }
  std::vector<real> gradient(const ParamInfo& p) { return tiny.params.whole_grad({p.index}); }
  std::vector<real> value(const ParamInfo& p) {
    const auto v = tiny.params.slice(p, tiny.params.values(p.owner));
    return {v.begin(), v.end()};
  }
  TinyClassifier tiny;
  LaneLayout lanes;
  Batch batch;
  ModelTrace trace;
};

void expect_same_report(const LossReport& a, const LossReport& b) {
  EXPECT_EQ(a.task, b.task);
  EXPECT_EQ(a.total, b.total);
  EXPECT_EQ(a.targets, b.targets);
  for (std::size_t i = 0; i < std::min(a.auxiliary.size(), b.auxiliary.size()); ++i) EXPECT_EQ(a.auxiliary[i].value, b.auxiliary[i].value) << a.auxiliary[i].name;
}

TEST(Classifier, GivesTheBitsOfOneRankAlsoWhenRanksHaveNoSequences) {
  for (const Keys& keys : k_variants) {
    for (const i64 sequences : {13, 2}) {
      Step all(test::grid_of_all(), keys, sequences), truth(test::grid_of_me(), keys, sequences);
      SCOPED_TRACE(fmt::format("{}, {} sequences", name_of(keys), sequences));
      const Range mine = all.lanes.my_sequences();
      EXPECT_TRUE(test::same_bits(all.trace.log_p, test::rows_of(truth.trace.log_p, mine.begin, mine.count)));
      EXPECT_TRUE(test::same_bits(all.trace.pooled, test::rows_of(truth.trace.pooled, mine.begin, mine.count)));
      expect_same_report(all.trace.report, truth.trace.report);
      for (const ParamInfo& p : all.tiny.params.infos()) {
        const ParamInfo& same = *truth.tiny.params.find(p.name);
        EXPECT_TRUE(test::same_bits(all.gradient(p), truth.gradient(same))) << p.name;
        EXPECT_TRUE(test::same_bits(all.value(p), truth.value(same))) << p.name << " after the update of buffers";
      }
    }
  }
}

TEST(Classifier, DoesNotCareWhatStandsInThePadding) {
  for (const Keys& keys : k_variants) {
    Step zeros(test::grid_of_all(), keys, 13, 9, 0), fives(test::grid_of_all(), keys, 13, 9, 5);
    SCOPED_TRACE(name_of(keys));
    EXPECT_TRUE(test::same_bits(zeros.trace.log_p, fives.trace.log_p));
    expect_same_report(zeros.trace.report, fives.trace.report);
    for (const ParamInfo& p : zeros.tiny.params.infos()) {
      EXPECT_TRUE(test::all_near(zeros.gradient(p), fives.gradient(p), 0)) << p.name;
      EXPECT_TRUE(test::same_bits(zeros.value(p), fives.value(p))) << p.name;
    }
  }
}

// A longer row of padding changes nothing but the rounding; in evaluation, where noise and a capacity have no part.
TEST(Classifier, DoesNotCareHowLongThePaddingIs) {
  for (const Keys& keys : k_variants) {
    Step tight(test::grid_of_all(), keys, 13, 6, 0, false), loose(test::grid_of_all(), keys, 13, 9, 0, false);
    SCOPED_TRACE(name_of(keys));
    EXPECT_TRUE(test::all_near(tight.trace.log_p.flat(), loose.trace.log_p.flat(), 1e-5));
    EXPECT_NEAR(tight.trace.report.total, loose.trace.report.total, 1e-5);
    for (const ParamInfo& p : tight.tiny.params.infos()) EXPECT_TRUE(test::all_near(tight.gradient(p), loose.gradient(p), 1e-5)) << p.name;
  }
}

TEST(Classifier, ReportsMeanCrossEntropyOverCountedLabels) {
  Step step(test::grid_of_me(), k_variants[1], 13);
  double sum = 0;
  i64 counted = 0;
  for (std::size_t s = 0; s < step.batch.target.size(); ++s) {
    if (step.batch.target[s] < 0) continue;
    sum -= static_cast<double>(step.trace.log_p(static_cast<i64>(s), step.batch.target[s]));
    ++counted;
  }
  EXPECT_LT(counted, 13);
  EXPECT_EQ(step.trace.report.targets, counted);
  EXPECT_NEAR(step.trace.report.task, sum / static_cast<double>(counted), 1e-6);
}

TEST(Classifier, AveragesTheLastStatesOverRealTokensOnly) {
  Step step(test::grid_of_me(), k_variants[0], 5);
  for (i64 s = 0; s < 5; ++s) {
    for (i64 j = 0; j < step.trace.pooled.cols(); ++j) {
      double sum = 0;
      for (i64 i = 0; i < step.batch.length[s]; ++i) sum += static_cast<double>(step.trace.normed(s * 9 + i, j));
      EXPECT_NEAR(step.trace.pooled(s, j), sum / static_cast<double>(step.batch.length[s]), 1e-6);
    }
  }
}

// Later tokens are seen: changing the last real token changes the state of the first.
TEST(Classifier, LooksInBothDirections) {
  TinyClassifier tiny(test::grid_of_me(), k_long, k_variants[3]);
  const LaneLayout lanes = tiny.lanes(1, 1, 9);
  Batch batch = TinyClassifier::batch(lanes, 6);
  ASSERT_EQ(batch.length[0], 6);
  const StepContext context{tiny.grid, lanes, tiny.times, 11, 2, false};
  ModelTrace before, after;
  tiny.model->forward(tiny.params, batch, context, before);
  batch.input[5] = (batch.input[5] + 3) % k_tiny_vocab;
  tiny.model->forward(tiny.params, batch, context, after);
  EXPECT_FALSE(test::same_bits(test::rows_of(before.normed, 0, 1), test::rows_of(after.normed, 0, 1)));
}

}  // namespace
}  // namespace pleiad::model
