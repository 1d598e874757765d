// The training loop: batch, forward, backward (meanwhile sum gradients), clip, update, report; in that order, on one screen (trainer.cpp).
#pragma once
#include <functional>

#include "pleiad/train/checkpoint.hpp"
#include "pleiad/train/decode.hpp"
#include "pleiad/train/generate.hpp"
#include "pleiad/train/grad_sync.hpp"
#include "pleiad/train/placement.hpp"
#include "pleiad/train/schedule.hpp"

namespace pleiad::train {

/// Sections [train] and [checkpoint], and [metrics] if it is read too.
struct TrainConfig {
  i64 steps = 0, batch = 0, lanes = 0;
  std::uint64_t seed = 0;
  std::optional<double> mask_share;  ///< of a corpus: share of the tokens to be guessed; none: the next token is
  double grad_clip = 0;
  i64 eval_every = 0, eval_windows = 0, sample_every = 0, sample_tokens = 0;
  i64 checkpoint_every = 0;
  i64 record_every = 0;  ///< steps between those whose routing is recorded; 0: none
  i64 trace_every = 0;   ///< steps between those whose phases are traced, beside step 2 of each part; 0: none
  AdamConfig adam;
  Schedule schedule;
  BadNumberPolicy bad_numbers = BadNumberPolicy::stop;
  i64 bad_steps_most = 10;  ///< with so many bad steps a run stops, whatever the policy
  static TrainConfig read(Spec& train, Spec& checkpoint);
  void read_metrics(Spec& metrics);
};

/// Where the text samples of a run start.
struct SamplePlan {
  std::vector<std::int32_t> prompt;  ///< empty: no samples
  std::int32_t end = -1;             ///< of sequence to sequence: the token that ends a target; the prompt is a source then
};

/// Whether somebody wants this rank to stop; asked once per step.
using StopRequest = std::function<bool()>;

/// Why run() returned: all updates are done; somebody wanted it to stop; numbers that are not finite, and the run must end, or go back to its newest checkpoint.
enum class PartEnd { done, stopped, bad_numbers, roll_back };

class Trainer {
 public:
  /// All references must outlive the trainer. `sinks` is empty except on rank 0. collective.
  Trainer(const TrainConfig& config, const model::Model& model, BatchSource& source, const comm::ProcessGrid& grid,
          std::vector<MetricSink*> sinks, CheckpointStore& store, SamplePlan samples);

  /// From here on experts may move between ranks as their load asks for; `rebuild` makes the model over other owners. `adam` is that of the
  /// state. collective.
  void balance(const PlacementConfig& config, RebuildModel rebuild);

  /// Trains until `last_step` updates are done, evaluating, sampling and saving as configured; saves and evaluates at the end. If `stop` says
  /// so on any rank, all stop at the same step edge, save, and leave the rest as if the run had been killed there; state.step tells. A step
  /// whose loss or gradient is not finite changes no weight and is never saved. collective.
  PartEnd run(TrainState& state, i64 last_step, const StopRequest& stop = {});
  /// After PartEnd::bad_numbers or roll_back.
  const BadNumbers& bad_numbers() const { return bad_; }

 private:
  bool step(TrainState& state);
  bool is_good(double norm) const;
  BadNumberPolicy policy(const TrainState& state) const;
  bool passes_over(TrainState& state);
  PartEnd give_up(TrainState& state);
  bool is_traced(i64 step) const;
  void report(const TrainState& state, const model::Batch& batch, double rate, double norm, double seconds);
  void tell(const std::function<void(MetricSink&)>& what);
  void gather_times(StepRecord& record);
  void report_layers(const model::Batch& batch, StepRecord& record) const;
  std::vector<i64> own_pairs() const;
  void report_ranks(StepRecord& record) const;
  bool after_step(TrainState& state, bool last);
  bool save(const TrainState& state);
  void rebalance(TrainState& state, i64 left);
  std::vector<std::int32_t> sample_text(const ParamSet& params) const;

  const TrainConfig& config_;
  const model::Model* model_;
  BatchSource& source_;
  const comm::ProcessGrid& grid_;
  std::vector<MetricSink*> sinks_;
  CheckpointStore& store_;
  SamplePlan samples_;
  LaneLayout lanes_;
  PhaseTimes times_;
  GradientSum gradients_;
  LayerFacts facts_;
  std::optional<LoadBalancer> balancer_;
  RebuildModel rebuild_;
  StopRequest stop_;
  bool stopping_ = false;  // the same on all ranks
  bool changed_ = false;   // an update was made since the last checkpoint
  BadNumbers bad_;
  std::string problem_;    // of a sink
  model::ModelTrace trace_;
  i64 part_begin_ = 0;                         // updates done when this part of the run began
  const i64 epoch_ = epoch_of_stopwatch();     // once, so that a clock that is set does not tear intervals apart
  double step_begin_ = 0;
};

}  // namespace pleiad::train
