// pleiad train --config F.ini [--set section.key=value ...] --out DIR, --init and --resume: connects the floors and runs the loop.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/data_setup.hpp"
#include "pleiad/app/match.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/build_info.hpp"
#include "pleiad/io/routing_record.hpp"
#include "pleiad/io/run_record.hpp"
#include "pleiad/ops/blas.hpp"

namespace pleiad::app {

namespace {

namespace fs = std::filesystem;

struct Request {
  std::string config, out, init, match;
  std::vector<std::string> settings;
  bool resume = false, dry_run = false;
  i64 stop_at = -1;
};

bool read_request(const comm::Communicator& world, const Arguments& arguments, Request& r) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("config", options::value<std::string>(), "configuration file (INI)")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the file; may be repeated")(
      "out", options::value<std::string>(), "run directory to make")(
      "init", options::value<std::string>(), "start from the weights of this checkpoint or run, and without --config from its configuration")(
      "match", options::value<std::string>(), "a run whose last evaluation sets moe.mean_k and moe.k_histogram, for controls")(
      "resume", options::value<std::string>()->implicit_value(""), "continue the run in this directory (or that of --out) from its newest checkpoint")(
      "stop-at", options::value<i64>(), "stop after this many updates, with a checkpoint; --resume goes on")(
      "dry-run", options::bool_switch(), "check everything, print sizes and placement, train nothing")(
      "run", options::value<std::string>(), "run directory, as plain argument after --resume");
  Values values;
  const std::string usage =
      "usage: pleiad train --config F.ini [--set section.key=value ...] --out DIR\n"
      "       pleiad train --init CHECKPOINT|RUN [--config F.ini] [--set ...] --out DIR\n"
      "       pleiad train --resume DIR [--set ...]\nTrains a Mixture-of-Experts language model on all ranks; writes DIR/run.h5, DIR/checkpoints, DIR/log.txt.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return false;
  r.config = value_or<std::string>(values, "config", "");
  r.init = value_or<std::string>(values, "init", "");
  r.match = value_or<std::string>(values, "match", "");
  r.settings = value_or<std::vector<std::string>>(values, "set", {});
  r.resume = values.count("resume") != 0;
  r.dry_run = values["dry-run"].as<bool>();
  r.stop_at = value_or<i64>(values, "stop-at", -1);
  if (values.count("stop-at") && r.stop_at < 0) user_error("--stop-at {}: must be at least 0", r.stop_at);
  const std::string resumed = value_or<std::string>(values, "resume", ""), plain = value_or<std::string>(values, "run", "");
  if (!plain.empty() && (!r.resume || !resumed.empty())) user_error("train: '{}' is not understood; options start with --, see --help", plain);
  r.out = !resumed.empty() ? resumed : !plain.empty() ? plain : value_or<std::string>(values, "out", "");
  if (values.count("init") && r.init.empty()) user_error("train: --init: the name of a checkpoint or run directory is empty");
  if (!r.init.empty() && r.resume) user_error("train: --init {} starts a new run and --resume continues one: give one of the two", r.init);
  if (!r.match.empty() && r.resume) user_error("train: --match {} is for a new run; one that is resumed has its options", r.match);
  if (r.config.empty() && r.init.empty() && !r.resume) {
    user_error("train: --config is missing; give a configuration file, or --resume and a run directory, or --init and a checkpoint");
  }
  if (r.out.empty() && !r.dry_run) user_error("train: --out is missing; give the run directory to make");
  return true;
}

/// A new run must not touch an old one; rank 0 looks and makes the folder.
void make_run_folder(const comm::Communicator& world, const std::string& out) {
  const bool checkpoints = !io::newest_checkpoint(world, out + "/checkpoints").empty();
  std::string problem;
  if (world.root()) {
    std::error_code error;
    if (fs::exists(out + "/run.h5", error) || checkpoints) {
      problem = fmt::format("--out {}: already holds a run; choose another folder, or continue it with --resume", out);
    } else {
      fs::create_directories(out, error);
      if (error) {
        problem = fmt::format("--out {}: cannot be created ({})", out, error.message());
      } else if (access(out.c_str(), W_OK) != 0) {
        problem = fmt::format("--out {}: cannot be written to ({})", out, std::strerror(errno));
      }
    }
  }
  comm::agree(world, comm::broadcast(world, problem));
}

/// Held by rank 0 while it writes a run; the system lets go of it when the process ends, however that happens.
class RunLock {
 public:
  /// UserError if another process has it.
  explicit RunLock(const std::string& run) : file_(::open((run + "/log.txt").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666)) {
    if (file_ < 0) user_error("{}/log.txt: cannot be written ({})", run, std::strerror(errno));
    if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;  // a file system without locks is no reason to stop
    ::close(file_);
    user_error("{}: another process is writing this run at this moment", run);
  }
  ~RunLock() { ::close(file_); }
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_;
};

/// Keys that may differ when a run is continued: where it runs and what it reports, not what it computes.
bool may_change(const std::string& key) {
  for (const char* prefix : {"parallel.", "exchange.", "checkpoint.", "metrics.", "train.eval_", "train.sample_", "train.steps", "data."}) {
    if (key.starts_with(prefix)) return true;
  }
  return false;
}

void require_same_run(const Config& config, const std::string& stored_text, const std::string& run) {
  const auto now = config.values();
  for (const auto& [key, was] : Config::parse(stored_text, run).given()) {
    const auto it = now.find(key);
    if (it != now.end() && it->second != was && !may_change(key)) {
      user_error("--resume {}: {} = {} differs from the run's {}; only parallel, exchange, checkpoint, metrics and data options, train.steps, train.eval_* and train.sample_* may change", run, key, it->second, was);
    }
  }
}

/// The data may be others than the weights were trained on; the meaning of tokens and labels may not.
void require_same_meaning(const io::CheckpointInfo& info, const Data& data, const std::string& path, const std::string& init) {
  if (info.vocab != data.shape().vocab || info.tokenizer.fingerprint() != data.tokenizer().fingerprint()) {
    user_error("data.corpus = {}: has another tokenizer ({}, vocabulary {}) than --init {} ({}, vocabulary {})", path, data.tokenizer().kind(),
               data.shape().vocab, init, info.tokenizer.kind(), info.vocab);
  }
  if (!info.labels.empty() && !data.labels().empty() && info.labels != data.labels()) {
    user_error("data.corpus = {}: has the labels {}, --init {} has {}", path, fmt::join(data.labels(), ", "), init, fmt::join(info.labels, ", "));
  }
}

/// Largest resident memory of all ranks so far, summed, in bytes. collective.
i64 peak_memory(const comm::Communicator& world) {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return comm::sum_over<i64>(world, i64{1024} * usage.ru_maxrss);
}

std::string first_line_of_cpuinfo() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

std::vector<std::pair<std::string, std::string>> environment_facts(const comm::Communicator& world) {
  char host[256] = "unknown";
  gethostname(host, sizeof(host) - 1);
  std::string hosts;
  const std::vector<char> all = comm::all_gather_v<char>(world, std::span<const char>((std::string(host) + " ").c_str(), std::strlen(host) + 1));
  char date[64] = "";
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  const core::BuildInfo build = core::build_info();
  std::vector<std::pair<std::string, std::string>> facts = {
      {"started", date},         {"hosts", std::string(all.begin(), all.end()).substr(0, 8192)},
      {"cpu", first_line_of_cpuinfo()}, {"mpi", comm::mpi_description()},
      {"blas", ops::blas_description()}, {"hdf5", io::h5_description()},
      {"compiler", std::string(build.compiler)}, {"build_type", std::string(build.build_type)},
      {"flags", std::string(build.flags)}, {"numbers", k_real_name}};
  for (const char* name : {"SLURM_JOB_ID", "SLURM_JOB_NODELIST", "SLURM_NTASKS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"}) {
    if (const char* value = std::getenv(name)) facts.emplace_back(name, value);
  }
  return facts;
}

io::RunDescription describe_run(const comm::Communicator& world, const Config& config, const ModelSetup& setup, const Data& data, std::uint64_t seed) {
  const std::map<std::string, std::string> values = config.values();
  io::RunDescription run;
  run.config = config.resolved();
  run.facts = environment_facts(world);
  run.seed = static_cast<i64>(seed);
  run.ranks = world.size();
  run.moe_layers = setup.model->moe_layers();
  if (const io::Corpus* corpus = data.corpus()) {
    run.domains = corpus->domain_names();
    run.has_floor = corpus->has_entropy();
  }
  for (const char* key : {"router", "preset"}) {
    if (const auto it = values.find(std::string("moe.") + key); it != values.end()) run.facts.emplace_back(key, it->second);
  }
  const bool predicts_next = data.shape().task != model::Task::classifier, causal = predicts_next && setup.model->causal();
  run.labels = data.labels();
  run.numbers = {{"causal", causal}, {"allow_noncausal", setup.moe_config.allow_noncausal}, {"parameters_total", count_parameters(setup).total}};
  if (predicts_next && !causal) run.facts.emplace_back("note", fmt::format("the router {} looks at later tokens although the model predicts the next one: its losses are not those of a language model", setup.moe_config.router));
  if (run.moe_layers.empty()) return run;
  const model::MoeLayer& moe = *setup.model->blocks()[run.moe_layers.front()].moe();
  run.expert_widths = setup.moe_config.expert_widths;
  run.layer = train::layer_facts(setup.moe_config, moe);
  run.k_bins = model::k_bins(run.experts(), setup.moe_config.bank != routing::Bank::feed_forward);
  run.places = model::position_places(setup.model_config.seq_len);
  run.has_importance = moe.has_importance();
  run.generates_experts = setup.moe_config.hyper.on;
  for (const auto& [key, value] : values) {
    if (key.starts_with("moe.") && key.ends_with("_loss") && value != "0") run.auxiliary.push_back(key.substr(4, key.size() - 9));
  }
  return run;
}

/// Moments of row-sparse experts exist only once there was a gradient, and gradients only of rows that tokens were sent to.
std::string memory_in_words(const ParameterCount& n, const model::MoeLayer* moe, i64 lanes, i64 choices) {
  const double number = static_cast<double>(sizeof(real)) * 1e-6, sparse = static_cast<double>(n.per_rank_sparse);
  const double flat = 4.0 * static_cast<double>(n.per_rank_largest - n.per_rank_sparse) + static_cast<double>((lanes - 1) * n.dense);
  if (sparse == 0) return fmt::format("{:.1f} MB", flat * number);
  const double rows = static_cast<double>(moe->expert_map().owned_by(0).size()), touched = std::min(1.0, static_cast<double>(choices) / rows);
  return fmt::format("up to {:.1f} MB after the first step, {:.1f} MB once every expert had a token", (flat + (1 + 3 * touched) * sparse) * number,
                     (flat + (3 + touched) * sparse) * number);
}

std::string experts_in_words(const std::vector<i64>& owned) {
  if (owned.empty()) return "none";
  const i64 count = static_cast<i64>(owned.size()), most = 64;
  if (count <= most) return fmt::format("{}", fmt::join(owned, " "));
  if (owned.back() - owned.front() == count - 1) return fmt::format("{} to {}", owned.front(), owned.back());
  return fmt::format("{} {} {} ... {}, {} in all", owned[0], owned[1], owned[2], owned.back(), count);
}

void print_sizes(const ModelSetup& setup, const train::TrainConfig& config, const std::map<std::string, std::string>& values) {
  const ParameterCount n = count_parameters(setup);
  const comm::Communicator& world = setup.grid.world();
  if (!world.root()) return;
  const double mega = 1e6;
  const i64 lanes = (config.lanes + world.size() - 1) / world.size();
  const model::MoeLayer* moe = setup.model->moe_layers().empty() ? nullptr : setup.model->blocks()[setup.model->moe_layers().front()].moe();
  // A token's experts per layer: with product keys k for each head.
  const auto option = [&](const char* key, double otherwise) { return values.count(key) ? std::stod(values.at(key)) : otherwise; };
  const double choices = option("moe.mean_k", option("moe.k", 0)) * option("moe.heads", 1);
  std::cout << fmt::format("parameters: {:.3f} M in all, {:.3f} M replicated; fullest rank {:.3f} M\n", static_cast<double>(n.total) / mega,
                           static_cast<double>(n.dense) / mega, static_cast<double>(n.per_rank_largest) / mega);
  std::cout << fmt::format("memory per rank for weights, moments and gradients: {}\n",
                           memory_in_words(n, moe, lanes, static_cast<i64>(choices) * config.batch * setup.model_config.seq_len));
  std::cout << fmt::format("forward flops per token without experts: {:.3f} M\n", setup.model->fixed_flops_per_token() / mega);
  if (!moe) return;
  const double layers = static_cast<double>(setup.model->moe_layers().size()), experts = static_cast<double>(moe->expert_map().experts());
  double expert_flops = 0;
  for (i64 e = 0; e < moe->expert_map().experts(); ++e) expert_flops += moe->flops_per_row(e) / experts;
  std::cout << fmt::format("forward flops per token and expert of mean width, all {} MoE layers: {:.3f} M\n", layers, layers * expert_flops / mega);
  if (choices > 0) {
    const double active = static_cast<double>(n.dense) + choices / experts * static_cast<double>(n.total - n.dense);
    std::cout << fmt::format("with {} experts per token and layer: {:.3f} M active parameters, {:.3f} M forward flops per token\n", choices, active / mega,
                             (setup.model->fixed_flops_per_token() + choices * layers * (expert_flops + moe->side_flops_per_selection())) / mega);
  }
  for (i64 r = 0; r < setup.grid.expert_group().size() && r < 64; ++r) {
    std::cout << fmt::format("experts of rank {}: {}\n", r, experts_in_words(moe->expert_map().owned_by(r)));
  }
}

}  // namespace

int run_train(const comm::Communicator& world, const Arguments& arguments) {
  Request request;
  if (!read_request(world, arguments, request)) return k_exit_ok;

  // What to do: a configuration from a file, or from the run to be continued or the checkpoint to start from.
  std::string checkpoint, stored;
  std::optional<io::CheckpointInfo> info;
  if (!request.init.empty()) {
    checkpoint = find_checkpoint(world, request.init);
    info = io::read_checkpoint_info(world, checkpoint);
    stored = info->config;
  } else if (request.resume) {
    checkpoint = io::newest_checkpoint(world, request.out + "/checkpoints");
    if (!checkpoint.empty()) {
      info = io::read_checkpoint_info(world, checkpoint);
      stored = info->config;
    } else {
      comm::agree_on(world, [&] { stored = world.root() ? io::read_run_config(request.out + "/run.h5") : ""; });
      stored = comm::broadcast(world, stored);
    }
  }
  Config config = request.config.empty() ? Config::parse(stored, request.resume ? request.out : checkpoint) : Config::load(world, request.config);
  config.set_all(request.settings);
  if (!request.match.empty()) set_match(world, request.match, config.section("moe"));

  const RunOptions options = RunOptions::read(config);
  const train::TrainConfig& train_config = options.train;
  if (options.corpus.empty()) user_error("data.corpus is missing: give a file made by 'pleiad data build', 'synth', 'labelled' or 'pairs'");
  const Data data = Data::open(world, options.corpus);
  if (!request.init.empty()) require_same_meaning(*info, data, options.corpus, request.init);
  const model::Task task = data.shape().task;
  ModelSetup setup(world, config, data.shape());
  config.finish();
  const auto source = data.source(setup.model_config.seq_len, train_config.seed, io::Split::validation);
  if (request.resume) require_same_run(config, stored, request.out);
  if (request.resume && info && info->corpus_fingerprint != data.fingerprint()) {
    user_error("data.corpus = {}: is not the corpus the run was started with (fingerprint {}, the run's is {})", options.corpus, data.fingerprint(), info->corpus_fingerprint);
  }
  if (!request.dry_run || !request.init.empty()) setup.params.allocate();
  if (!request.init.empty()) io::load_checkpoint(setup.grid, checkpoint, setup.params, nullptr);  // before anything is made
  if (request.dry_run) {
    print_sizes(setup, train_config, config.values());
    return k_exit_ok;
  }
  if (!request.resume) make_run_folder(world, request.out);

  // The state to start from.
  train::Adam adam(train_config.adam, setup.params);
  train::TrainState state{setup.params, adam, 0};
  io::CheckpointInfo saved{0, data.shape().vocab, config.resolved(), data.tokenizer(), data.fingerprint(), task, data.labels()};
  if (request.resume && info) {
    io::load_checkpoint(setup.grid, checkpoint, setup.params, &adam);
    state.step = info->step;
    saved.init_checkpoint = info->init_checkpoint;
    saved.init_step = info->init_step;
  } else if (info) {
    saved.init_checkpoint = fs::path(checkpoint).filename().string();
    saved.init_step = info->step;
  } else {
    setup.params.initialise(train_config.seed);
  }
  io::CheckpointFolder store(setup.grid, request.out + "/checkpoints", options.keep, saved);
  const i64 last_step = request.stop_at >= 0 ? std::min(request.stop_at, train_config.steps) : train_config.steps;

  // Who listens.
  io::RunDescription run = describe_run(world, config, setup, data, train_config.seed);
  run.init_checkpoint = saved.init_checkpoint;
  run.init_step = saved.init_step;
  const auto decode = [&](std::span<const std::int32_t> tokens) { return decode_text(task, data.tokenizer(), tokens); };
  std::optional<RunLock> lock;
  std::optional<io::RunRecord> record;
  std::optional<io::RoutingRecord> routing;
  std::optional<Terminal> terminal;
  comm::agree_on(world, [&] {
    if (world.root()) lock.emplace(request.out);
  });
  // Before there is a record: whatever the run is resumed from then starts with these weights.
  if (!request.init.empty()) store.save(state);
  comm::agree_on(world, [&] {
    if (!world.root()) return;
    const std::string path = request.out + "/run.h5";
    if (request.resume && fs::exists(path)) {
      record.emplace(path, run, decode, state.step);
    } else {
      record.emplace(path, run, decode);
    }
    const std::string routes = request.out + "/routing.h5";
    const bool recorded = request.resume && fs::exists(routes);
    if (!run.moe_layers.empty() && (train_config.record_every > 0 || recorded)) {
      routing.emplace(routes, run, train_config.batch, setup.model_config.seq_len, train_config.lanes, recorded ? std::optional(state.step) : std::nullopt);
    }
    terminal.emplace(Terminal::Options{state.step, last_step, world.size(), decode, request.out + "/log.txt"});
  });
  std::vector<train::MetricSink*> sinks;
  if (world.root()) sinks = {&*record, &*terminal};
  if (routing) sinks.push_back(&*routing);
  if (const ParameterCount n = count_parameters(setup); world.root()) {
    terminal->say(fmt::format("{} {:.2f} M parameters on {} rank{}, {} tokens a step, {} to {} of {} steps", request.resume ? "continuing" : "training",
                              static_cast<double>(n.total) * 1e-6, world.size(), world.size() == 1 ? "" : "s", train_config.batch * setup.model_config.seq_len,
                              state.step, last_step, train_config.steps));
    if (!request.init.empty()) terminal->say(fmt::format("starting from the weights of {} (step {})", checkpoint, info->step));
    if (const std::string note = Data::note(*source); !note.empty()) terminal->say("note: " + note);
    if (request.resume && !info) terminal->say("no checkpoint was written yet: starting from step 0");
    if (world.size() > train_config.lanes) {
      terminal->say(fmt::format("note: train.lanes = {} is less than the number of ranks, so {} ranks have no tokens of their own", train_config.lanes, world.size() - train_config.lanes));
    }
  }

  const train::SamplePlan samples{data.prompt(options.prompt), task == model::Task::seq2seq ? io::end_token(data.tokenizer()) : -1};
  train::Trainer trainer(train_config, *setup.model, *source, setup.grid, sinks, store, samples);
  trainer.run(state, last_step);

  const i64 memory = peak_memory(world);
  if (world.root()) {
    record->finish(state.step, memory);
    terminal->phase_table();
    terminal->say(fmt::format("memory: {:.2f} GiB at the peak, all ranks together", static_cast<double>(memory) / static_cast<double>(i64{1} << 30)));
    if (!setup.model->moe_layers().empty() && !setup.moe_config.citation.empty()) terminal->say("please cite: " + setup.moe_config.citation);
    terminal->say(fmt::format("run record: {}/run.h5", request.out));
  }
  return k_exit_ok;
}

}  // namespace pleiad::app
