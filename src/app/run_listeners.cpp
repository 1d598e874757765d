#include "pleiad/app/run_listeners.hpp"

#include <filesystem>
#include <sstream>

#include "pleiad/app/memory_check.hpp"
#include "pleiad/app/run_facts.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

RunListeners::RunListeners(const TrainJob& job, const io::CheckpointInfo& saved, i64 first_step) : job_(job), first_step_(first_step) {
  const comm::Communicator& world = job.setup.grid.world();
  const io::RunDescription run = describe_run(job, saved);
  comm::agree_on_root(world, [&] { open_records(run); });
}

void RunListeners::open_records(const io::RunDescription& run) {
  const auto decode = [&job = job_](std::span<const std::int32_t> tokens) { return job.text_of(tokens); };
  const train::TrainConfig& config = job_.options.train;
  const std::string& out = job_.request.out;
  const auto continued = [&](const std::string& path) { return job_.request.resume && std::filesystem::exists(path); };
  // What somebody keeps elsewhere and linked to stays there.
  const auto target = [&](const std::string& path) { return continued(path) ? std::filesystem::canonical(path).string() : path; };
  const std::string path = target(out + "/run.h5"), routes = target(out + "/routing.h5");
  const bool recorded = continued(routes);
  if (!run.moe_layers.empty() && (config.record_every > 0 || recorded)) {
    routing_.emplace(routes, run, config.batch, job_.setup.model_config.seq_len, config.lanes, recorded ? std::optional(first_step_) : std::nullopt);
  }
  if (continued(path)) {
    record_.emplace(path, run, decode, first_step_);
  } else {
    record_.emplace(path, run, decode);
  }
  if (routing_) routing_->publish();  // neither record is changed unless both can go on
  terminal_.emplace(Terminal::Options{first_step_, job_.last_step(), run.ranks, decode, out + "/log.txt"});
  if (routing_ && !recorded && first_step_ > 0) terminal_->say(fmt::format("note: {} is not there: it begins after step {}", routes, first_step_));
  open_followers(run);
  if (!job_.request.predict.empty()) prediction_.emplace(load_cluster(job_.request.predict).cluster, job_.config.resolved(), job_.data.shape().vocab, run.ranks);
}

/// What a run can do without.
void RunListeners::open_followers(const io::RunDescription& run) {
  const train::TrainConfig& config = job_.options.train;
  const std::string& out = job_.request.out;
  const auto complain = [this](const std::string& line) { terminal_->say(line); };
  const io::LiveRecord::About about{.ranks = run.ranks, .first_step = first_step_, .last_step = job_.last_step(), .steps = config.steps,
                                    .blocks = run.moe_layers, .before = record_->so_far()};
  live_.emplace(out, about, complain);
  const std::string trace = out + "/trace.json";
  const bool continued = job_.request.resume && std::filesystem::exists(trace);
  if (config.trace_every == 0 && !continued) return;
  std::vector<std::string> hosts;
  for (const auto& [name, value] : run.facts) {
    std::istringstream words(name == "hosts" ? value : "");
    for (std::string host; words >> host;) hosts.push_back(host);
  }
  trace_.emplace(trace, run.ranks, hosts, continued ? std::optional(first_step_) : std::nullopt, complain);
}

std::vector<train::MetricSink*> RunListeners::sinks() {
  std::vector<train::MetricSink*> sinks;
  if (record_) sinks = {&*record_, &*terminal_, &*live_};
  if (routing_) sinks.push_back(&*routing_);
  if (trace_) sinks.push_back(&*trace_);
  if (prediction_) sinks.push_back(&*prediction_);
  return sinks;
}

void RunListeners::greet() {
  const ParameterCount n = count_parameters(job_.setup);
  const io::MemoryRecord memory = memory_record(job_.setup.grid.world(), job_.memory);
  if (!terminal_) return;
  const TrainRequest& request = job_.request;
  const train::TrainConfig& config = job_.options.train;
  const i64 ranks = job_.setup.grid.world().size();
  terminal_->say(fmt::format("{} {:.2f} M parameters on {} rank{}, {} tokens a step, {} to {} of {} steps", request.resume ? "continuing" : "training",
                             static_cast<double>(n.total) * 1e-6, ranks, ranks == 1 ? "" : "s", config.batch * job_.setup.model_config.seq_len, first_step_,
                             job_.last_step(), config.steps));
  if (request.data_cursor >= 0) {
    terminal_->say(fmt::format("back at {}: on with batch {}", job_.origin.checkpoint.empty() ? "the beginning" : job_.origin.checkpoint, request.data_cursor + 1));
  } else if (job_.memory.tried) {
    terminal_->say(forecast_in_words(memory, job_.memory_seconds));
  }
  if (!request.init.empty()) terminal_->say(job_.start_in_words());
  if (const std::string note = Data::note(*job_.source); !note.empty()) terminal_->say("note: " + note);
  for (const std::string& problem : job_.origin.passed_over) terminal_->say("note: passed over a checkpoint: " + problem);
  for (const std::string& note : job_.origin.notes) terminal_->say("note: " + note);
  if (!job_.origin.passed_over.empty()) terminal_->say(fmt::format("going on from {}, an older one", job_.origin.checkpoint));
  if (request.resume && !job_.origin.info) terminal_->say("no checkpoint was written yet: starting from step 0");
  if (ops::chosen_library() == ops::Library::openblas && !ops::openblas_remark().empty()) terminal_->say("note: " + ops::openblas_remark());
  if (!ops::threads_remark().empty()) terminal_->say("note: " + ops::threads_remark());
  if (ranks > config.lanes) {
    terminal_->say(fmt::format("note: train.lanes = {} is less than the number of ranks, so {} of them {} no tokens of {} own", config.lanes, ranks - config.lanes,
                                ranks - config.lanes == 1 ? "has" : "have", ranks - config.lanes == 1 ? "its" : "their"));
  }
}

/// What cannot be predicted does not spoil the run.
void RunListeners::say_prediction() {
  try {
    const PredictionCheck::Result result = prediction_->compare();
    for (const std::string& line : result.lines) terminal_->say(line);
    io::write_simulation(job_.request.out + "/prediction.h5", result.record);
  } catch (const UserError& e) {
    terminal_->say(fmt::format("note: no prediction beside what was measured: {}", e.what()));
  }
}

void RunListeners::say_goodbye(i64 steps, const std::string& ending, bool summary) {
  const comm::Communicator& world = job_.setup.grid.world();
  const io::MemoryRecord memory = memory_record(world, job_.memory);
  comm::agree_on_root(world, [&] {
    record_->finish(steps, memory);
    if (steps == job_.options.train.steps) io::write_marker(job_.request.out, job_.identity(), steps, world.size());
  });
  if (!terminal_) return;
  live_->finish();
  if (summary) {
    terminal_->phase_table();
    if (prediction_) say_prediction();
    terminal_->say(outcome_in_words(memory));
    const model::MoeConfig& moe = job_.setup.moe_config;
    if (!job_.setup.model->moe_layers().empty() && !moe.citation.empty()) terminal_->say("please cite: " + moe.citation);
    terminal_->say(fmt::format("run record: {}/run.h5", job_.request.out));
  }
  if (!ending.empty()) terminal_->say(ending);
}

}  // namespace pleiad::app
