// The prediction of a training step: all ranks of a described cluster work, send and wait for each other as the trainer makes them (src/train/trainer.cpp).
#pragma once
#include "pleiad/sim/clocks.hpp"
#include "pleiad/sim/layer_cost.hpp"

namespace pleiad::sim {

struct Scenario {
  const StepModel& model;
  const Cluster& cluster;  ///< with as many ranks as are predicted (Cluster::with_ranks)
  i64 ranks = 0;
  const Demand& demand;
  const Engine& engine;
  i64 step = 0;
};

/// Seconds and bytes.
struct Prediction {
  i64 ranks = 0, nodes = 0, tokens = 0;
  double seconds = 0;                  ///< of the step
  std::vector<double> phase_seconds;   ///< [ranks x k_phase_count], waits for others included, as in /steps/phase_seconds of run.h5
  std::vector<double> wait_seconds;    ///< [ranks] of these
  std::vector<double> path_seconds;    ///< [k_phase_count] along the critical path: they add up to `seconds`
  std::vector<double> path_by_rank;    ///< [ranks] what each contributes to it
  std::vector<RankMemory> memory;      ///< [ranks]
  std::vector<double> expert_rows;     ///< [MoE layers x ranks]
  std::vector<double> sent_bytes, between_bytes;  ///< [ranks] by the exchange
  std::vector<LinkLoads::Link> links;  ///< the busiest ones
  double ideal_seconds = 0;            ///< the computation alone, shared out evenly among ranks that nothing slows down
  double flops = 0;                    ///< forward, and twice that backward
  std::string exchange;                ///< how tokens travel, in words
  std::vector<std::string> notes;      ///< what is outside of what was measured, what is not counted, what does not fit

  double efficiency() const { return ideal_seconds / seconds; }
  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
  /// Mean over the ranks of a phase.
  double mean_of(Phase phase) const;
  /// The rank that is most on the critical path.
  i64 slowest_rank() const;
  /// Where the time goes, in a sentence.
  std::string path_in_words() const;
};

/// UserError where the configuration does not go with the number of ranks.
Prediction predict(const Scenario& scenario);

}  // namespace pleiad::sim
