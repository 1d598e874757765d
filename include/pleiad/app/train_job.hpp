// What pleiad train works on: where the run comes from, its configuration, the data and the model.
#pragma once
#include <optional>

#include "pleiad/app/data_setup.hpp"
#include "pleiad/app/memory_judge.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/app/train_request.hpp"

namespace pleiad::app {

/// What a run starts from: nothing, the weights of a checkpoint (--init), or where it stopped (--resume).
struct RunOrigin {
  std::string checkpoint;                  ///< path; empty if there is none, also of a run that was stopped before its first one
  std::optional<io::CheckpointInfo> info;  ///< of that checkpoint
  std::string config;                      ///< stored with it or with the run, INI form
  std::vector<std::string> passed_over;    ///< why newer checkpoints of the run were not taken
  std::vector<std::string> notes;          ///< what else is not as it was left
};

/// Members are built in this order and refer to earlier ones; not copied, not moved.
struct TrainJob {
  /// Makes no file. Allocates the parameters, unless a dry run needs none, and with --init sets their values. UserError on all ranks for
  /// configuration, data and origin that are wrong or do not go together. collective.
  TrainJob(const comm::Communicator& world, const TrainRequest& asked);
  TrainJob(const TrainJob&) = delete;
  TrainJob& operator=(const TrainJob&) = delete;

  /// Whether --init names a model of another task, from which the trunk is taken.
  bool takes_trunk() const;
  /// What --init took, and what begins anew. pre: there is one.
  std::string start_in_words() const;
  /// io::run_identity of this run.
  std::string identity() const;
  /// Whether all steps were done by an earlier part, whose marker, record and last checkpoint are as they were left. UserError if the record was changed since. collective.
  bool finished_before() const;
  /// Where it ends this time: --stop-at or train.steps.
  i64 last_step() const;
  std::string text_of(std::span<const std::int32_t> tokens) const { return decode_text(data.shape().task, data.tokenizer(), tokens); }
  train::SamplePlan samples() const;

  TrainRequest request;
  RunOrigin origin;
  Config config;
  RunOptions options;
  Data data;
  ModelSetup setup;
  std::unique_ptr<train::BatchSource> source;
  MemoryForecast memory = {};  ///< of this rank, once it is predicted (app/memory_check.hpp)
  double memory_seconds = 0;   ///< that it took to find out
};

/// Sets the weights, moments and step that the job begins with and returns what its checkpoints say of it. `state` is that of the job's
/// parameters. collective.
io::CheckpointInfo set_start(TrainJob& job, train::TrainState& state);

}  // namespace pleiad::app
