#include "pleiad/app/train_request.hpp"

#include <filesystem>

#include "pleiad/app/arguments.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checkpoint_h5.hpp"

namespace pleiad::app {

bool read_train_request(const comm::Communicator& world, const Arguments& arguments, TrainRequest& r) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("config", options::value<std::string>(), "configuration file (INI)")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the file; may be repeated")(
      "out", options::value<std::string>(), "run directory to make")(
      "init", options::value<std::string>(), "start from the weights of this checkpoint or run, of another task from its trunk, and without --config from its configuration")(
      "match", options::value<std::string>(), "a run whose last evaluation sets moe.mean_k and moe.k_histogram, for controls")(
      "resume", options::value<std::string>()->implicit_value(""), "continue the run in this directory (or that of --out) from its newest checkpoint")(
      "continue", options::bool_switch(), "with --config and --out: start the run, or go on where it stopped; nothing to do if it is finished")(
      "scratch", options::value<std::string>(), "folder on every node (node-local disk): the data are copied there once per node and read from there")(
      "predict", options::value<std::string>(), "a cluster file (pleiad simulate calibrate): at the end, the predicted step beside the measured one by phase, also in DIR/prediction.h5")(
      "stop-at", options::value<i64>(), "stop after this many updates, with a checkpoint; --resume goes on")(
      "dry-run", options::bool_switch(), "check everything, print sizes and placement, train nothing")(
      "run", options::value<std::string>(), "run directory, as plain argument after --resume");
  Values values;
  const std::string usage =
      "usage: pleiad train --config F.ini [--set section.key=value ...] --out DIR\n"
      "       pleiad train --init CHECKPOINT|RUN [--config F.ini] [--set ...] --out DIR\n"
      "       pleiad train --resume DIR [--set ...]\n"
      "       pleiad train --continue --config F.ini --out DIR\nTrains a Mixture-of-Experts model on all ranks; writes DIR/run.h5, DIR/checkpoints, DIR/log.txt.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return false;
  r.config = value_or<std::string>(values, "config", "");
  r.init = value_or<std::string>(values, "init", "");
  r.match = value_or<std::string>(values, "match", "");
  r.settings = value_or<std::vector<std::string>>(values, "set", {});
  r.resume = values.count("resume") != 0;
  r.dry_run = values["dry-run"].as<bool>();
  r.go_on = values["continue"].as<bool>();
  r.scratch = value_or<std::string>(values, "scratch", "");
  r.predict = value_or<std::string>(values, "predict", "");
  if (values.count("predict") && r.predict.empty()) user_error("train: --predict: the name of a cluster file is empty");
  r.stop_at = value_or<i64>(values, "stop-at", -1);
  if (values.count("stop-at") && r.stop_at < 0) user_error("--stop-at {}: must be at least 0", r.stop_at);
  const std::string resumed = value_or<std::string>(values, "resume", ""), plain = value_or<std::string>(values, "run", "");
  if (!plain.empty() && (!r.resume || !resumed.empty())) user_error("train: '{}' is not understood; options start with --, see --help", plain);
  r.out = !resumed.empty() ? resumed : !plain.empty() ? plain : value_or<std::string>(values, "out", "");
  if (values.count("init") && r.init.empty()) user_error("train: --init: the name of a checkpoint or run directory is empty");
  if (r.go_on && r.resume) user_error("train: --continue starts a run or goes on with it and --resume only goes on: give one of the two");
  if (r.go_on && r.dry_run) user_error("train: --continue does not go with --dry-run");
  if (!r.init.empty() && r.resume) user_error("train: --init {} starts a new run and --resume continues one: give one of the two", r.init);
  if (!r.match.empty() && r.resume) user_error("train: --match {} is for a new run; one that is resumed has its options", r.match);
  if (r.config.empty() && r.init.empty() && !r.resume) {
    user_error("train: --config is missing; give a configuration file, or --resume and a run directory, or --init and a checkpoint");
  }
  if (r.out.empty() && !r.dry_run) user_error("train: --out is missing; give the run directory to make");
  return true;
}

void become_resumption(TrainRequest& request) {
  request.resume = true;
  // What a run starts from was settled when it started.
  if (!request.match.empty()) request.config.clear();
  request.init.clear();
  request.match.clear();
}

void settle_continue(const comm::Communicator& world, TrainRequest& request) {
  if (!request.go_on) return;
  const bool checkpoints = !io::newest_checkpoint(world, request.out + "/checkpoints").empty();
  std::error_code error;
  const i64 there = checkpoints || (world.root() && std::filesystem::exists(request.out + "/run.h5", error));
  if (comm::max_over<i64>(world, there) > 0) become_resumption(request);
}

}  // namespace pleiad::app
