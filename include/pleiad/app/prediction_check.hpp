// train --predict: what a step was predicted to take on a described cluster beside what it took, phase by phase.
#pragma once
#include <deque>

#include "pleiad/app/cluster_file.hpp"
#include "pleiad/app/config.hpp"
#include "pleiad/io/simulation_record.hpp"
#include "pleiad/train/metrics.hpp"

namespace pleiad::app {

/// Rank 0 only. Collects what steps take and how busy each expert is; the prediction, made at the end, has tokens that choose independently as often as they did.
class PredictionCheck : public train::MetricSink {
 public:
  /// config: of the run, in INI form; vocab: of its model. UserError for a cluster that cannot have so many ranks.
  PredictionCheck(sim::Cluster cluster, std::string config, i64 vocab, i64 ranks);

  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64, const train::EvalReport&) override {}
  void on_sample(const train::Sample&) override {}
  void on_checkpoint(i64, double, i64) override {}

  struct Result {
    std::vector<std::string> lines;  ///< for people
    io::SimulationRecord record;     ///< with one prediction and what was measured
  };
  /// Medians over the steps. UserError where the configuration cannot be predicted, or too few steps were made.
  Result compare() const;

 private:
  sim::Cluster cluster_;
  std::string config_;
  i64 vocab_, ranks_, steps_ = 0;
  std::vector<std::vector<double>> expert_tokens_;  // [MoE layers][N] kept assignments
  double tokens_ = 0;
  std::deque<std::vector<double>> seconds_;  // of the last steps: the step, then its phases, means over the ranks
};

}  // namespace pleiad::app
