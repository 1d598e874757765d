// The command line of pleiad train.
#pragma once
#include "pleiad/app/commands.hpp"
#include "pleiad/core/real.hpp"

namespace pleiad::app {

/// A new run (`init`: from the weights of a checkpoint), or with `resume` the next part of the one in `out`.
struct TrainRequest {
  std::string config, out, init, match;
  std::string predict;  ///< a cluster file: what a step was predicted to take is compared with what it took; empty: not asked for
  std::string scratch;  ///< folder on every node for a copy of the data while they are read; empty: none
  std::vector<std::string> settings;
  bool resume = false, dry_run = false;
  bool go_on = false;  ///< --continue: resume if there is a run in `out`, otherwise start it
  i64 stop_at = -1;  ///< updates; negative: not asked for
  i64 data_cursor = -1, bad_steps = 0;  ///< after a rollback: batches before the next one, and bad steps so far; negative: as the checkpoint says
};

/// Fills `request` and returns true, or prints the help and returns false. UserError for options that are missing or contradict each other.
bool read_train_request(const comm::Communicator& world, const Arguments& arguments, TrainRequest& request);

/// Makes it the request to go on with the run that was started by it.
void become_resumption(TrainRequest& request);

/// Decides what --continue means: sets `resume` if `out` holds a run. collective.
void settle_continue(const comm::Communicator& world, TrainRequest& request);

}  // namespace pleiad::app
