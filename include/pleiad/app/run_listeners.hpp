// Who listens to a run: its record run.h5, routing.h5 where routing is recorded, live.json for who watches it from elsewhere,
// trace.json with a timeline of the ranks, and the terminal with log.txt.
#pragma once
#include "pleiad/app/prediction_check.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/app/train_job.hpp"
#include "pleiad/io/live_record.hpp"
#include "pleiad/io/routing_record.hpp"
#include "pleiad/io/trace_record.hpp"

namespace pleiad::app {

/// All of them live on rank 0; the other ranks have none.
class RunListeners {
 public:
  /// Makes the files, or continues them after `first_step` updates. `saved`: what the run's checkpoints say of it. UserError on all ranks.
  /// collective. The job must outlive this.
  RunListeners(const TrainJob& job, const io::CheckpointInfo& saved, i64 first_step);

  std::vector<train::MetricSink*> sinks();
  /// What a person should know at the start. collective.
  void greet();
  /// Closes the record of `steps` updates and sums up on the terminal; `ending` says why there are no more, empty if all are done. collective.
  void say_goodbye(i64 steps, const std::string& ending, bool summary);

 private:
  void open_records(const io::RunDescription& run);
  void say_prediction();
  void open_followers(const io::RunDescription& run);

  const TrainJob& job_;
  i64 first_step_;
  std::optional<io::RunRecord> record_;
  std::optional<io::RoutingRecord> routing_;
  std::optional<Terminal> terminal_;
  std::optional<io::LiveRecord> live_;
  std::optional<io::TraceRecord> trace_;
  std::optional<PredictionCheck> prediction_;
};

}  // namespace pleiad::app
