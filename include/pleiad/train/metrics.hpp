// What a run reports, and to whom: io writes it to run.h5, app shows it on the terminal.
#pragma once
#include "pleiad/train/bad_numbers.hpp"
#include "pleiad/train/evaluate.hpp"
#include "pleiad/train/routing_snapshot.hpp"
#include "pleiad/train/step_trace.hpp"

namespace pleiad::train {

struct StepRecord {
  i64 step = 0;                 ///< counted from 1: this many updates are done
  model::LossReport loss;       ///< before the update
  double learning_rate = 0;
  double grad_norm = 0;         ///< before clipping
  bool skipped = false;         ///< no update was made, because these are not finite
  double seconds = 0;           ///< wall time of the step on rank 0
  i64 tokens = 0;               ///< of the global batch
  double flops = 0;             ///< forward and backward of the whole batch, kept assignments, multiply-add = 2
  double flops_per_token = 0;   ///< forward, the whole model
  std::vector<const model::LayerStatistics*> layers;  ///< MoE layers in order
  std::vector<LayerFigures> figures;                  ///< of these
  std::vector<double> phase_seconds;  ///< [ranks x k_phase_count]
  std::vector<i64> bytes, messages;   ///< [MoE layers x ranks] sent by each rank, forward and backward
  std::vector<i64> between_bytes;     ///< [MoE layers x ranks] of these bytes, those that leave the rank's node
  std::vector<i64> shadows, shadow_bytes;  ///< [MoE layers x ranks] experts that each rank borrowed; of bytes, those of their weights and gradients
  std::vector<i64> expert_rows;       ///< [MoE layers x ranks] rows that each rank's experts computed, forward
  std::vector<double> expert_flops;   ///< [MoE layers x ranks] and their floating-point operations
  /// [ranks x ranks] bytes from one to another, forward and backward, all layers; of pretended ranks in a dry run. Empty beyond
  /// exchange::k_most_paired_ranks.
  std::vector<i64> pair_bytes;
  std::optional<StepTrace> trace;     ///< on the steps to be traced
  std::optional<RoutingSnapshot> routing;  ///< on the steps whose routing is to be recorded
};

struct Sample {
  i64 step = 0;
  std::vector<std::int32_t> prompt, text;  ///< text includes the prompt
};

/// A look at which rank owns which expert, and what came of it.
struct PlacementRecord {
  i64 step = 0;                              ///< updates done
  double peak_before = 1, peak_after = 1;    ///< flops of the heaviest rank over the mean, summed over the layers, since the last look: as it was, as proposed
  i64 wanted = 0, moved = 0;                 ///< experts that the proposal moves; that were moved
  i64 bytes = 0;                             ///< that went from rank to rank: weights and moments
  double gain = 0, cost = 0;                 ///< predicted seconds, until the next look
  double seconds = 0;                        ///< that the move took
};

/// Lives on rank 0 only; must not communicate.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void on_step(const StepRecord& record) = 0;
  virtual void on_evaluation(i64 step, const EvalReport& report) = 0;
  virtual void on_sample(const Sample& sample) = 0;
  virtual void on_checkpoint(i64 step, double seconds, i64 bytes) = 0;
  virtual void on_placement(const PlacementRecord&) {}
  /// `then`: what is done about it, in words.
  virtual void on_bad_numbers(const BadNumbers&, const std::string& /*then*/) {}
  /// What was reported must survive a kill from here on; called before a checkpoint is written.
  virtual void flush() {}
};

}  // namespace pleiad::train
