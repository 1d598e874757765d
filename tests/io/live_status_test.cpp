// live.json: written and read again, whatever the numbers; kept by a run.
#include <cmath>
#include <limits>

#include "pleiad/io/live_record.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

class Live : public test::TemporaryFolder {
 protected:
  LiveRecord::Complain noting() {
    return [this](const std::string& line) { complaints_.push_back(line); };
  }
  std::vector<std::string> complaints_;
};

LiveStatus sample() {
  LiveStatus s;
  s.host = "node17";
  s.job = "4711";
  s.process = 99;
  s.ranks = 4;
  s.first_step = 10;
  s.step = 20;
  s.steps = 100;
  s.time = 1.7e9 + 0.123;
  s.seconds_per_step = 0.1;
  s.loss = 1.0 / 3;
  s.evaluated = 15;
  s.evaluation_loss = 2.5;
  s.above_floor = 0.5;
  s.history_step = {10, 20};
  s.history_loss = {3, 2.25};
  s.phase_seconds = {{"expert", 1.5}, {"router", 0.25}};
  s.layers = {{1, {0.5, 1.5}, 1.5, 1.25, 0.7, 2, 0.125}};
  return s;
}

TEST_F(Live, IsReadAsItWasWritten) {
  write_live_status(folder_, sample());
  const LiveStatus a = sample(), b = read_live_status(folder_).value();
  EXPECT_EQ(b.state, "running");
  EXPECT_EQ(b.host, a.host);
  EXPECT_EQ(b.job, a.job);
  EXPECT_EQ(b.process, a.process);
  EXPECT_EQ(b.step, 20);
  EXPECT_EQ(b.time, a.time);
  EXPECT_EQ(b.loss, a.loss) << "all digits";
  EXPECT_EQ(b.evaluated, a.evaluated);
  EXPECT_EQ(b.above_floor, a.above_floor);
  EXPECT_EQ(b.history_step, a.history_step);
  EXPECT_EQ(b.history_loss, a.history_loss);
  EXPECT_EQ(b.phase_seconds, a.phase_seconds);
  ASSERT_EQ(b.layers.size(), 1u);
  EXPECT_EQ(b.layers[0].load, a.layers[0].load);
  EXPECT_EQ(b.layers[0].dropped_share, a.layers[0].dropped_share);
  EXPECT_DOUBLE_EQ(b.eta_seconds(), 8);
  EXPECT_FALSE(std::filesystem::exists(at("live.json.partial")));
}

TEST_F(Live, BearsNumbersThatAreNone) {
  LiveStatus s = sample();
  s.loss = std::numeric_limits<double>::quiet_NaN();
  s.evaluation_loss = std::numeric_limits<double>::infinity();
  s.history_loss[1] = s.loss;
  s.layers[0].entropy = s.loss;
  s.host = "caf\xe9";
  write_live_status(folder_, s);
  const LiveStatus b = read_live_status(folder_).value();
  EXPECT_TRUE(std::isnan(b.loss));
  EXPECT_TRUE(std::isnan(b.evaluation_loss));
  EXPECT_TRUE(std::isnan(b.history_loss[1]));
  EXPECT_EQ(b.history_loss[0], 3);
  EXPECT_TRUE(std::isnan(b.layers[0].entropy));
}

TEST_F(Live, SaysWhatIsWrongWithAFileAndNothingIfThereIsNone) {
  EXPECT_FALSE(read_live_status(folder_).has_value());
  EXPECT_FALSE(read_live_status(at("nowhere")).has_value());
  for (const char* text : {"", "{", "[]", R"({"format": "pleiad-live/9"})", R"({"format": "pleiad-live/1"})"}) {
    text_file("live.json", text);
    EXPECT_MENTIONS(test::problem_of([&] { read_live_status(folder_); }), "live.json: is damaged or of another version");
  }
}

TEST(LossHistory, HasAPointForEveryStepOfAShortRun) {
  LossHistory history(5);
  std::vector<i64> step;
  std::vector<double> loss;
  for (i64 s = 1; s <= 5; ++s) history.add(s, static_cast<double>(s));
  history.copy_to(step, loss);
  EXPECT_EQ(step, (std::vector<i64>{1, 2, 3, 4, 5}));
  EXPECT_EQ(loss, (std::vector<double>{1, 2, 3, 4, 5}));
}

TEST(LossHistory, TakesMeansOfALongOneAndLeavesOutWhatIsNotFinite) {
  LossHistory history(1001, 10);
  std::vector<i64> step;
  std::vector<double> loss;
  history.add(1, 5);
  history.add(2, std::numeric_limits<double>::quiet_NaN());
  history.add(3, 7);
  history.copy_to(step, loss);
  EXPECT_EQ(step, (std::vector<i64>{3})) << "the piece has only begun";
  EXPECT_EQ(loss, (std::vector<double>{6}));
  for (i64 s = 4; s <= 1001; ++s) history.add(s, 1);
  history.copy_to(step, loss);
  EXPECT_EQ(step.size(), 10u);
  EXPECT_EQ(step.back(), 1001);
  EXPECT_EQ(loss.back(), 1);
}

TEST(LoadOfGroups, IsShareOverFairShare) {
  EXPECT_EQ(load_of_groups(std::vector<i64>{1, 3, 0, 0}), (std::vector<double>{1, 3, 0, 0}));
  EXPECT_EQ(load_of_groups(std::vector<i64>{1, 3, 0, 0}, 2), (std::vector<double>{2, 0}));
  const std::vector<double> uneven = load_of_groups(std::vector<i64>{2, 2, 2}, 2);
  EXPECT_DOUBLE_EQ(uneven[0], 1) << "groups of one and two experts, all equally loaded";
  EXPECT_DOUBLE_EQ(uneven[1], 1);
  EXPECT_EQ(load_of_groups(std::vector<i64>{0, 0}), (std::vector<double>{0, 0}));
  EXPECT_EQ(load_of_groups(std::vector<i64>(1000, 7)).size(), 64u);
}

/// A step of two ranks and one layer of four experts.
struct MadeUpStep {
  explicit MadeUpStep(i64 step) {
    counts.expert_tokens = {6, 2, 0, 0};
    counts.used = {0, 1};
    counts.selected = 10;
    record.step = step;
    record.loss.task = 1.0 / static_cast<double>(step);
    record.seconds = 0.5;
    record.tokens = 100;
    record.layers = {&counts};
    record.figures.resize(1);
    record.figures[0].load.imbalance = 3;
    record.phase_seconds.assign(2 * k_phase_count, 0.0);
    record.phase_seconds[static_cast<int>(Phase::expert)] = 0.25;
    record.phase_seconds[static_cast<int>(Phase::expert) + k_phase_count] = 0.75;
  }
  model::LayerStatistics counts;
  train::StepRecord record;
};

TEST_F(Live, FollowsARunFromItsStartToItsEnd) {
  LiveRecord live(folder_, {.ranks = 2, .last_step = 4, .steps = 4, .blocks = {1}, .before = {}, .every = 0}, noting());
  EXPECT_EQ(read_live_status(folder_)->step, 0);
  EXPECT_TRUE(std::isnan(read_live_status(folder_)->loss));
  for (i64 s = 1; s <= 3; ++s) live.on_step(MadeUpStep(s).record);
  LiveStatus now = read_live_status(folder_).value();
  EXPECT_EQ(now.step, 3);
  EXPECT_EQ(now.loss, 1.0 / 3);
  EXPECT_EQ(now.tokens_per_second, 200);
  EXPECT_EQ(now.history_step, (std::vector<i64>{1, 2, 3}));
  EXPECT_EQ(now.phase_seconds, (std::map<std::string, double>{{"expert", 1.5}})) << "three steps, mean of two ranks";
  ASSERT_EQ(now.layers.size(), 1u);
  EXPECT_EQ(now.layers[0].block, 1);
  EXPECT_EQ(now.layers[0].load, (std::vector<double>{3, 1, 0, 0}));
  EXPECT_DOUBLE_EQ(now.layers[0].dropped_share, 0.2);
  EXPECT_FALSE(now.evaluated.has_value());
  train::EvalReport report;
  report.loss = 2;
  report.floor = 0.5;
  live.on_evaluation(3, report);
  now = read_live_status(folder_).value();
  EXPECT_EQ(now.evaluated, 3);
  EXPECT_EQ(now.above_floor, 1.5);
  live.finish();
  EXPECT_EQ(read_live_status(folder_)->state, "stopped") << "a step is left";
  live.on_step(MadeUpStep(4).record);
  live.finish();
  EXPECT_EQ(read_live_status(folder_)->state, "finished");
  EXPECT_TRUE(complaints_.empty());
}

TEST_F(Live, IsWrittenNowAndThenOnly) {
  LiveRecord live(folder_, {.last_step = 9, .steps = 9, .blocks = {0}, .before = {}, .every = 3600}, noting());
  for (i64 s = 1; s <= 9; ++s) live.on_step(MadeUpStep(s).record);
  EXPECT_EQ(read_live_status(folder_)->step, 0);
  live.on_evaluation(9, {});
  EXPECT_EQ(read_live_status(folder_)->step, 9);
  EXPECT_EQ(read_live_status(folder_)->layers.size(), 1u);
}

TEST_F(Live, GoesOnWithTheCurveOfTheEarlierParts) {
  LiveRecord(folder_, {.last_step = 2, .steps = 4, .blocks = {0}, .before = {}, .every = 0}, noting()).on_step(MadeUpStep(2).record);
  LiveRecord live(folder_, {.first_step = 2, .last_step = 4, .steps = 4, .blocks = {0}, .before = {.losses = {5, 4}, .evaluated = 2, .evaluation_loss = 4.5, .above_floor = {}}, .every = 0}, noting());
  LiveStatus now = read_live_status(folder_).value();
  EXPECT_EQ(now.step, 2);
  EXPECT_EQ(now.loss, 4);
  EXPECT_EQ(now.evaluation_loss, 4.5);
  EXPECT_EQ(now.layers.size(), 1u) << "as they were";
  live.on_step(MadeUpStep(3).record);
  now = read_live_status(folder_).value();
  EXPECT_EQ(now.history_step, (std::vector<i64>{1, 2, 3}));
  EXPECT_EQ(now.history_loss, (std::vector<double>{5, 4, 1.0 / 3}));
  EXPECT_EQ(now.first_step, 2);
  EXPECT_EQ(now.seconds_per_step, 0.5);
}

TEST_F(Live, ThatCannotBeWrittenIsToldOnceAndEndsNothing) {
  std::filesystem::create_directories(at("live.json/in_the_way"));
  LiveRecord live(folder_, {.last_step = 9, .steps = 9, .blocks = {0}, .before = {}, .every = 0}, noting());
  for (i64 s = 1; s <= 3; ++s) live.on_step(MadeUpStep(s).record);
  live.finish();
  ASSERT_EQ(complaints_.size(), 1u);
  EXPECT_MENTIONS(complaints_[0], "live.json: cannot be written");
  EXPECT_MENTIONS(complaints_[0], "the run goes on");
}

}  // namespace
}  // namespace pleiad::io
