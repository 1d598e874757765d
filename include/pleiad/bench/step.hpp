// A whole training step of a model by the trainer itself, on tokens made up in memory. Steps come in rounds of a few, the roof before and
// after each round. Read next: src/train/trainer.cpp.
#pragma once
#include "pleiad/bench/record.hpp"
#include "pleiad/sim/demand.hpp"
#include "pleiad/train/trainer.hpp"

namespace pleiad::bench {

/// Of a step and its phases, medians over the steps that count.
struct StepSeconds {
  double step = 0;
  std::vector<double> phases;  ///< [k_phase_count] mean over the ranks
  std::vector<double> least;   ///< [k_phase_count] of the rank that has least of it: hardly any waits for others
};

class StepBench {
 public:
  /// Draws the parameters. `sinks` are what else listens to the steps, as the record of a run does (rank 0 only). References must outlive this.
  StepBench(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, const train::TrainConfig& config, std::vector<train::MetricSink*> sinks);

  /// Runs rounds of steps; the first step of each is not counted. collective.
  Contest run(const Sampling& sampling, const Timed& roof, const std::vector<Timed>& others);
  /// Floating-point operations of a step, forward and backward of the whole model, kept assignments. On rank 0. pre: run().
  double flops() const { return steps_.empty() ? 0 : steps_.back().flops; }
  i64 tokens() const { return lanes_.tokens(); }
  /// On rank 0. pre: run().
  StepSeconds seconds() const;
  /// Which experts the tokens of the batch have, as the weights are now. The same on all ranks. collective.
  sim::Recording routing();
  /// Milliseconds by phase, shares of products, of metrics and of statistics, on rank 0. collective. pre: run().
  std::vector<Figure> figures();
  /// The gradient of the model, as it was drawn, for the batch of the steps (step_check.hpp). collective. pre: before run().
  Check check();

 private:
  /// One step that counts.
  struct Step {
    double seconds = 0;          // wall time on rank 0
    double flops = 0;
    std::vector<double> phases;  // seconds, mean over the ranks
    std::vector<double> least;   // seconds of the rank that has least of it
    double metrics = 0;          // seconds of rank 0, beside the step
    double products = 0;         // seconds inside matrix products, mean over the ranks
  };
  class SameBatch;
  class Listener;
  void keep(const Listener& heard, const std::vector<double>& products);
  double statistics_seconds();
  template <class Value>
  double median(Value value) const;

  const model::Model& model_;
  ParamSet& params_;
  const comm::ProcessGrid& grid_;
  const train::TrainConfig& config_;
  std::vector<train::MetricSink*> sinks_;
  LaneLayout lanes_;
  std::vector<Step> steps_;  // those that count
};

}  // namespace pleiad::bench
