// Time per phase, and the two kinds of error.
#include "pleiad/core/clock.hpp"

#include <set>
#include <thread>

#include "pleiad/core/error.hpp"
#include "support/sample.hpp"

namespace pleiad {
namespace {

void wait_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }

double sum(const PhaseTimes& times) {
  double all = 0;
  for (const double s : times.all()) all += s;
  return all;
}

TEST(PhaseTimes, AnInnerPhaseIsNotChargedToTheOuterOne) {
  PhaseTimes times;
  const Stopwatch watch;
  {
    PhaseTimes::Scope outer(times, Phase::attention);
    wait_a_little();
    {
      PhaseTimes::Scope inner(times, Phase::norm);
      wait_a_little();
    }
    wait_a_little();
  }
  const double whole = watch.seconds();
  EXPECT_GE(times.seconds(Phase::attention), 0.006);
  EXPECT_GE(times.seconds(Phase::norm), 0.003);
  EXPECT_LE(sum(times), whole);
  EXPECT_EQ(times.seconds(Phase::head), 0);
}

TEST(PhaseTimes, AddUpToTheTimeOfTheOutermostPhase) {
  PhaseTimes times;
  double whole = 0;
  {
    PhaseTimes::Scope outer(times, Phase::data);
    const Stopwatch watch;
    for (int i = 0; i < 100; ++i) {
      PhaseTimes::Scope a(times, Phase::router);
      PhaseTimes::Scope b(times, Phase::plan);
      PhaseTimes::Scope c(times, Phase::router);
    }
    whole = watch.seconds();
  }
  EXPECT_GE(sum(times), whole);
}

TEST(PhaseTimes, KeepIntervalsWhenAskedAndTheyAddUp) {
  PhaseTimes times;
  { PhaseTimes::Scope scope(times, Phase::data); }
  EXPECT_TRUE(times.take_intervals().empty()) << "nobody asked";
  double reset_at = 0;
  {
    PhaseTimes::Scope open(times, Phase::metrics);
    wait_a_little();
    reset_at = Stopwatch::now();
    times.reset();
    times.note_intervals(true);
    wait_a_little();
  }
  times.at_block(3);
  {
    PhaseTimes::Scope outer(times, Phase::attention);
    { PhaseTimes::Scope inner(times, Phase::norm); }
  }
  times.at_block(-1);
  const std::vector<PhaseInterval> all = times.take_intervals();
  ASSERT_EQ(all.size(), 4u) << "metrics, attention, norm, attention";
  EXPECT_EQ(all[0].phase, Phase::metrics);
  EXPECT_EQ(all[0].block, -1);
  EXPECT_GE(all[0].begin, reset_at) << "from the reset on";
  EXPECT_EQ(all[2].phase, Phase::norm);
  EXPECT_EQ(all[2].block, 3);
  double sums[k_phase_count] = {};
  for (std::size_t i = 0; i < all.size(); ++i) {
    sums[static_cast<int>(all[i].phase)] += all[i].end - all[i].begin;
    if (i > 0) {
      EXPECT_GE(all[i].begin, all[i - 1].end);
    }
  }
  for (int p = 0; p < k_phase_count; ++p) EXPECT_DOUBLE_EQ(sums[p], times.all()[static_cast<std::size_t>(p)]);
  EXPECT_TRUE(times.take_intervals().empty());
}

TEST(PhaseTimes, OutsideAnyPhaseNothingIsChargedAndResetForgets) {
  PhaseTimes times;
  wait_a_little();
  { PhaseTimes::Scope scope(times, Phase::data); }
  EXPECT_LT(sum(times), 0.003);
  EXPECT_GT(sum(times), 0);
  times.reset();
  EXPECT_EQ(sum(times), 0);
}

TEST(PhaseTimes, EveryPhaseHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int p = 0; p < k_phase_count; ++p) names.insert(phase_name(static_cast<Phase>(p)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(k_phase_count));
  EXPECT_EQ(names.count("other"), 0u);
}

TEST(Errors, CarryTheirSentence) {
  EXPECT_EQ(test::message_of<UserError>([] { user_error("{} = {}", "moe.k", 9); }), "moe.k = 9");
  const std::string message = test::message_of<LogicError>([] { PLEIAD_CHECK(1 + 1 == 3, "{} is not {}", 2, 3); });
  EXPECT_TRUE(test::contains(message, "2 is not 3")) << message;
  EXPECT_TRUE(test::contains(message, "1 + 1 == 3")) << message;
  EXPECT_TRUE(test::contains(message, "clock_test.cpp")) << message;
  EXPECT_NO_THROW(PLEIAD_CHECK(true, "fine"));
}

}  // namespace
}  // namespace pleiad
