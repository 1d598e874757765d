// pleiad train --config F.ini [--set section.key=value ...] --out DIR, --init and --resume: connects the floors and runs the loop.
#include <iostream>

#include "pleiad/app/dry_run_report.hpp"
#include "pleiad/app/run_folder.hpp"
#include "pleiad/app/run_listeners.hpp"
#include "pleiad/app/stop_signal.hpp"
#include "pleiad/comm/watchdog.hpp"

namespace pleiad::app {

int run_train(const comm::Communicator& world, const Arguments& arguments) {
  // What to do: configuration, data and model.
  TrainRequest request;
  if (!read_train_request(world, arguments, request)) return k_exit_ok;
  settle_continue(world, request);
  const StopSignal signals;
  TrainJob job(world, request);
  const train::TrainConfig& config = job.options.train;
  if (request.dry_run) {
    print_sizes(job.setup, config);
    return k_exit_ok;
  }
  if (job.finished_before()) {
    if (world.root()) std::cout << fmt::format("{}: all {} steps are done\n", request.out, config.steps);
    return k_exit_ok;
  }
  if (!request.resume) make_run_folder(world, request.out);

  // The state to start from, and where it is kept.
  train::Adam adam(config.adam, job.setup.params);
  train::TrainState state{job.setup.params, adam, 0};
  const io::CheckpointInfo info = set_start(job, state);
  io::CheckpointFolder store(job.setup.grid, request.out + "/checkpoints", job.options.keep, info);

  // Who listens.
  const RunLock lock(world, request.out);
  lock.forget_marker();
  // Before there is a record: whatever the run is resumed from then starts with these weights.
  if (!request.init.empty()) store.save(state);
  RunListeners listeners(job, info, state.step);
  listeners.greet();

  const comm::Watchdog watchdog(world, job.setup.stall_seconds, k_exit_stalled);
  if (!watchdog.problem().empty() && world.root()) std::cerr << "pleiad: note: " << watchdog.problem() << std::endl;

  train::Trainer trainer(config, *job.setup.model, *job.source, job.setup.grid, listeners.sinks(), store, job.samples());
  trainer.balance(job.setup.placement_config, [&](const train::Owners& owners, ParamSet& fresh) -> const model::Model& {
    return job.setup.rebuild(owners, fresh, job.config, job.data.shape());
  });
  trainer.run(state, job.last_step(), StopSignal::asked);
  listeners.say_goodbye(state.step);
  return state.step < job.last_step() ? k_exit_stopped : k_exit_ok;
}

}  // namespace pleiad::app
