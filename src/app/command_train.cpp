// pleiad train --config F.ini [--set section.key=value ...] --out DIR, --init and --resume: connects the floors and runs the loop.
#include <iostream>

#include "pleiad/app/dry_run_report.hpp"
#include "pleiad/app/memory_check.hpp"
#include "pleiad/app/run_folder.hpp"
#include "pleiad/app/run_listeners.hpp"
#include "pleiad/app/stop_signal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/watchdog.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::app {

namespace {

/// What a user types to go on with a run.
std::string resume_command(const std::string& run) { return fmt::format("'pleiad train --resume {}'", shell_word(run)); }

/// Why there are no more steps, in words for a person; empty if all are done. `budget_spent`: on any rank.
std::string ending_of(train::PartEnd end, const TrainJob& job, i64 step, const TimeBudget& budget, bool budget_spent) {
  const std::string go_on = resume_command(job.request.out) + " goes on, on any number of ranks";
  switch (end) {
    case train::PartEnd::done: return "";
    case train::PartEnd::stopped:
      return fmt::format("stopped by {} after step {} of {} and saved; {}", budget_spent ? fmt::format("its time budget ({})", budget.words()) : "a signal", step, job.last_step(), go_on);
    case train::PartEnd::bad_numbers: {
      const std::string ended = fmt::format("ended after step {} of {} by numbers that are not finite", step, job.last_step());
      const std::string earlier = io::checkpoint_before(job.request.out + "/checkpoints", step);
      const std::string other = fmt::format("a smaller train.learning_rate or train.grad_clip is for a new run, which --init {} starts from these weights{}", shell_word(job.request.out),
                                            earlier.empty() ? "" : fmt::format(", --init {} from earlier ones should these be ruined already", shell_word(earlier)));
      if (job.options.train.bad_numbers != train::BadNumberPolicy::stop) return fmt::format("{}; {}", ended, other);
      return fmt::format("{}; {} and passes over such batches with --set train.bad_numbers=skip or roll_back; {}", ended, go_on, other);
    }
    case train::PartEnd::roll_back: return fmt::format("step {} is left: back to the newest checkpoint", step + 1);
  }
  return "";
}

/// One part of a run: until it ends, or must go back; `request` is then that of the next part.
train::PartEnd run_part(const comm::Communicator& world, TrainRequest& request, RunLock& lock, std::optional<TimeBudget>& budget) {
  // What to do: configuration, data and model.
  TrainJob job(world, request);
  const train::TrainConfig& config = job.options.train;
  if (request.dry_run) {
    print_sizes(job.setup, config);
    show_memory(job);
    return train::PartEnd::done;
  }
  if (job.finished_before()) {
    if (world.root()) std::cout << fmt::format("{}: all {} steps are done\n", request.out, config.steps);
    return train::PartEnd::done;
  }
  if (request.resume && request.stop_at >= 0 && job.origin.info && job.origin.info->step >= request.stop_at) {
    if (world.root()) std::cout << fmt::format("{}: is at step {}, there is nothing to do up to --stop-at {}\n", request.out, job.origin.info->step, request.stop_at);
    return train::PartEnd::done;
  }
  if (!budget) budget.emplace(job.options.time);
  const comm::Watchdog watchdog(world, job.setup.parallel.stall_seconds, k_exit_stalled, resume_command(job.request.out) + " goes on from the last checkpoint if there is one, else from the start");
  if (!watchdog.problem().empty() && world.root()) std::cerr << "pleiad: note: " << watchdog.problem() << std::endl;

  // The state to start from, and where it is kept.
  train::Adam adam(config.adam, job.setup.params);
  train::TrainState state{job.setup.params, adam, 0};
  const io::CheckpointInfo info = set_start(job, state);
  if (!request.predict.empty()) comm::agree_on_root(world, [&] { load_cluster(request.predict).cluster.with_ranks(world.size()); });
  predict_memory(job, state);  // nothing is written before
  if (!request.resume) lock.make_folder();
  io::CheckpointFolder store(job.setup.grid, request.out + "/checkpoints", job.options.keep, info, job.options.files);

  // Who listens.
  lock.begin();
  // Before there is a record: whatever the run is resumed from then starts with these weights.
  if (!request.init.empty()) store.save(state);
  RunListeners listeners(job, info, state.step);
  listeners.greet();

  train::Trainer trainer(config, *job.setup.model, *job.source, job.setup.grid, listeners.sinks(), store, job.samples());
  trainer.balance(job.setup.parallel.placement, [&](const train::Owners& owners, ParamSet& fresh) -> const model::Model& {
    return job.setup.rebuild(owners, fresh, job.config, job.data.shape());
  });
  const train::PartEnd end = trainer.run(state, job.last_step(), [&] { return StopSignal::asked() || budget->spent(); });
  const bool budget_spent = comm::max_over<i64>(world, budget->was_spent()) > 0;
  listeners.say_goodbye(state.step, ending_of(end, job, state.step, *budget, budget_spent), end != train::PartEnd::roll_back);
  if (end == train::PartEnd::roll_back) {
    become_resumption(request);
    request.data_cursor = state.data_cursor() + 1;
    request.bad_steps = state.bad_steps;
  }
  return end;
}

}  // namespace

int run_train(const comm::Communicator& world, const Arguments& arguments) {
  TrainRequest request;
  if (!read_train_request(world, arguments, request)) return k_exit_ok;
  settle_continue(world, request);
  RunLock lock(world, request.dry_run ? "" : request.out, request.go_on);
  std::optional<TimeBudget> budget;  // of all parts together
  for (;;) {
    switch (run_part(world, request, lock, budget)) {
      case train::PartEnd::done: return k_exit_ok;
      case train::PartEnd::stopped: return k_exit_stopped;
      case train::PartEnd::bad_numbers: return k_exit_bad_numbers;
      case train::PartEnd::roll_back: break;
    }
  }
}

}  // namespace pleiad::app
