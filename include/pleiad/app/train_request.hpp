// The command line of pleiad train.
#pragma once
#include "pleiad/app/commands.hpp"
#include "pleiad/core/real.hpp"

namespace pleiad::app {

/// A new run (`init`: from the weights of a checkpoint), or with `resume` the next part of the one in `out`.
struct TrainRequest {
  std::string config, out, init, match;
  std::vector<std::string> settings;
  bool resume = false, dry_run = false;
  i64 stop_at = -1;  ///< updates; negative: not asked for
};

/// Fills `request` and returns true, or prints the help and returns false. UserError for options that are missing or contradict each other.
bool read_train_request(const comm::Communicator& world, const Arguments& arguments, TrainRequest& request);

}  // namespace pleiad::app
