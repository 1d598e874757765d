// What a run reports, and to whom: io writes it to run.h5, app shows it on the terminal.
#pragma once
#include "pleiad/train/evaluate.hpp"

namespace pleiad::train {

struct StepRecord {
  i64 step = 0;                 ///< counted from 1: this many updates are done
  model::LossReport loss;       ///< before the update
  double learning_rate = 0;
  double grad_norm = 0;         ///< before clipping
  double seconds = 0;           ///< wall time of the step on rank 0
  i64 tokens = 0;               ///< of the global batch
  double flops = 0;             ///< forward and backward of the whole batch, kept assignments, multiply-add = 2
  std::vector<const model::LayerStatistics*> layers;  ///< MoE layers in order
  std::vector<double> phase_seconds;  ///< [ranks x k_phase_count]
  std::vector<i64> bytes, messages;   ///< [MoE layers x ranks] sent by each rank, forward and backward
};

struct Sample {
  i64 step = 0;
  std::vector<std::int32_t> prompt, text;  ///< text includes the prompt
};

/// Lives on rank 0 only; must not communicate.
class MetricSink {
 public:
  virtual ~MetricSink() = default;
  virtual void on_step(const StepRecord& record) = 0;
  virtual void on_evaluation(i64 step, const EvalReport& report) = 0;
  virtual void on_sample(const Sample& sample) = 0;
  virtual void on_checkpoint(i64 step, double seconds, i64 bytes) = 0;
  /// What was reported must survive a kill from here on; called before a checkpoint is written.
  virtual void flush() {}
};

/// Load figures of one layer; definitions in docs/file_format.md.
struct LoadFigures {
  double imbalance = 1;            ///< largest over mean, of tokens per expert
  double flops_imbalance = 1;      ///< largest over mean, of floating-point operations per expert
  double variation = 0;            ///< coefficient of variation of tokens per expert
  double entropy = 1;              ///< entropy of the token shares over ln(experts)
};
/// tokens [N]; flops_per_row [N].
LoadFigures load_figures(std::span<const i64> tokens, std::span<const double> flops_per_row);

}  // namespace pleiad::train
