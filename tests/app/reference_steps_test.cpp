#include "pleiad/app/reference_steps.hpp"

#include <gtest/gtest.h>

namespace pleiad::app {
namespace {

constexpr std::size_t k_expert = static_cast<std::size_t>(Phase::expert), k_exchange = static_cast<std::size_t>(Phase::exchange);

/// Seconds of the experts of a step of one second.
ReferenceStep step_of(double measured, double predicted) {
  ReferenceStep s{.name = "m", .measured = 1, .predicted = 0.5, .measured_phases = std::vector<double>(k_phase_count), .predicted_phases = std::vector<double>(k_phase_count), .model = {}, .demand = {}};
  s.measured_phases[k_expert] = measured;
  s.predicted_phases[k_expert] = predicted;
  return s;
}

TEST(PhaseFactors, AreMediansOfWhatPhasesTake) {
  sim::Cluster c;
  set_phase_factors({step_of(0.30, 0.2), step_of(0.22, 0.2), step_of(0.9, 0.2)}, c);
  EXPECT_NEAR(c.phases[k_expert], 1.5, 1e-12);
  EXPECT_EQ(c.phases[k_exchange], 1) << "nobody exchanged anything";
}

// Ranks together say how long messages take; of them the experts' phase has waits for rows, which are the exchange's.
TEST(PhaseFactors, OfMessagesAreThoseOfRanksTogether) {
  sim::Cluster c;
  ReferenceStep together = step_of(0.5, 0.2);
  together.ranks = 2;
  together.measured_phases[k_exchange] = 0.1;
  together.predicted_phases[k_exchange] = 0.2;
  set_phase_factors({step_of(0.3, 0.2), together}, c);
  EXPECT_NEAR(c.phases[k_expert], 1.5, 1e-12);
  EXPECT_NEAR(c.phases[k_exchange], (0.1 + 0.5 - 1.5 * 0.2) / 0.2, 1e-12);
}

// A phase that hardly matters to its step says little of it.
TEST(PhaseFactors, CountAsMuchAsThePhaseIsOfItsStep) {
  sim::Cluster c;
  set_phase_factors({step_of(0.44, 0.4), step_of(0.03, 0.01), step_of(0.04, 0.01)}, c);
  EXPECT_NEAR(c.phases[k_expert], 1.1, 1e-12);
}

// Of steps so small that a disturbance is all there is.
TEST(PhaseFactors, AreNoMoreThanAClusterFileMaySay) {
  sim::Cluster c;
  set_phase_factors({step_of(0.2, 1e-6)}, c);
  EXPECT_EQ(c.phases[k_expert], 1000);
}

TEST(Sharing, IsTheMedianForADoubling) {
  sim::Cluster c;
  c.ranks_per_node = 8;
  c.cores = 2;
  std::vector<ReferenceStep> steps = {step_of(0, 0), step_of(0, 0), step_of(0, 0)};
  steps[0].measured = 0.5 * 1.21, steps[1].measured = 0.5 * 9, steps[2].measured = 0.5;
  set_sharing(steps, c);
  EXPECT_NEAR(c.sharing, 1.1, 1e-12) << "from two cores to four ranks, and from four to eight";
}

TEST(ReferenceSteps, SayWhatPhasesTake) {
  ReferenceStep s = step_of(0.3, 0.2);
  s.ranks = 2;
  const std::vector<std::string> lines = references_in_words({s});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0], "step of model m on 2 ranks: measured 1000.00 ms, by the rates 500.00 ms; measured over that: 2.00, expert 1.50");
}

}  // namespace
}  // namespace pleiad::app
