#include "pleiad/app/train_job.hpp"

#include <filesystem>

#include "pleiad/app/match.hpp"
#include "pleiad/app/memory_check.hpp"
#include "pleiad/app/same_run.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::app {

namespace {

/// What was typed to go on with a run.
std::string asked_to_go_on(const TrainRequest& request) { return fmt::format("--{} {}", request.go_on ? "continue: --out" : "resume", request.out); }

/// What the record of a run tells, which goes on from `checkpoint` if there is one.
io::RunTale tale_of(const std::string& record, const std::string& checkpoint) {
  if (!checkpoint.empty() && !std::filesystem::exists(record)) return {};
  try {
    return io::read_run_tale(record);
  } catch (const UserError& e) {
    if (checkpoint.empty()) throw;
    user_error("{}; if you move it away, a new record begins at {}", e.what(), checkpoint);
  }
}

RunOrigin find_origin(const comm::Communicator& world, const TrainRequest& request) {
  RunOrigin origin;
  if (!request.init.empty()) {
    origin.checkpoint = find_checkpoint(world, request.init);
  } else if (request.resume) {
    origin.checkpoint = io::newest_whole_checkpoint(world, request.out + "/checkpoints", origin.passed_over);
  } else {
    return origin;
  }
  const std::string record = request.out + "/run.h5";
  i64 saved = -1, recorded = 0;
  std::string corpus;
  if (request.resume) {
    io::RunTale tale;
    comm::agree_on_root(world, [&] {
      if (std::filesystem::exists(request.out) && !std::filesystem::is_directory(request.out)) user_error("{}: is a file; give the folder of the run", asked_to_go_on(request));
      tale = tale_of(record, origin.checkpoint);
    });
    origin.config = comm::broadcast(world, tale.config);
    corpus = comm::broadcast(world, tale.corpus_fingerprint);
    saved = comm::max_over<i64>(world, tale.saved);
    recorded = comm::max_over<i64>(world, tale.recorded);
  }
  if (!origin.checkpoint.empty()) {
    origin.info = io::read_checkpoint_info(world, origin.checkpoint);
    if (request.resume) {
      require_of_run(origin.checkpoint, *origin.info, origin.config, corpus);
      if (origin.config.empty()) origin.notes.push_back(fmt::format("{} is gone: a new record begins at step {}", record, origin.info->step));
      else if (recorded < origin.info->step) {
        origin.notes.push_back(fmt::format("{} knows of {} steps and the checkpoint is of step {}: the rows between are marked as lost", record, recorded, origin.info->step));
      }
      if (saved > origin.info->step && origin.passed_over.empty()) origin.notes.push_back(fmt::format("the checkpoint of step {} is gone: going on from {}", saved, origin.checkpoint));
    }
    origin.config = origin.info->config;
  } else if (saved >= 0) {
    user_error("{}: there is no checkpoint, but its run.h5 tells of one of step {}: bring it back to {}/checkpoints, or start a new run", asked_to_go_on(request), saved, request.out);
  }
  return origin;
}

Config read_config(const comm::Communicator& world, const TrainRequest& request, const RunOrigin& origin) {
  Config config = request.config.empty() ? Config::parse(origin.config, request.resume ? request.out : origin.checkpoint) : Config::load(world, request.config);
  if (!request.init.empty() && request.config.empty()) config.section("model").erase("vocab");  // that of the new data
  config.set_all(request.settings);
  if (!request.match.empty()) set_match(world, request.match, config);
  return config;
}

/// The data may be others than the weights were trained on, also of another task; the meaning of tokens and labels may not.
void require_same_meaning(const io::CheckpointInfo& info, const Data& data, const std::string& path, const std::string& init) {
  const bool same_task = info.task == data.shape().task;
  if ((same_task && info.vocab != data.shape().vocab) || info.tokenizer.fingerprint() != data.tokenizer().fingerprint()) {
    user_error("data.corpus = {}: has another tokenizer ({}, vocabulary {}) than --init {} ({}, vocabulary {}); 'pleiad data' with --tokenizer-of makes data with that of others", path,
               data.tokenizer().kind(), data.shape().vocab, init, info.tokenizer.kind(), info.vocab);
  }
  if (!info.labels.empty() && !data.labels().empty() && info.labels != data.labels()) {
    user_error("data.corpus = {}: has the labels {}, --init {} has {}", path, fmt::join(data.labels(), ", "), init, fmt::join(info.labels, ", "));
  }
}

Data open_data(const comm::Communicator& world, const TrainRequest& request, const RunOrigin& origin, const RunOptions& options) {
  const std::string& corpus = options.corpus;
  if (corpus.empty()) user_error("data.corpus is missing: give a file made by 'pleiad data build', 'synth', 'labelled' or 'pairs'");
  Data data = Data::open(world, corpus, options.train.mask_share, request.scratch);
  if (!request.init.empty()) require_same_meaning(*origin.info, data, corpus, request.init);
  return data;
}

void require_same_run(TrainJob& job) {
  const std::string& run = job.request.out;
  if (const auto d = forbidden_change(job.origin.config, run, job.config.values(), job.config.given())) {
    user_error("{}: {} = {} differs from the run's {}; only parallel, exchange, checkpoint, metrics and data options, train.steps, train.bad_*, train.eval_* and train.sample_* may change", asked_to_go_on(job.request), d->key, d->now, d->was);
  }
  if (job.origin.info && job.origin.info->corpus_fingerprint != job.data.fingerprint()) {
    user_error("data.corpus = {}: is not the corpus the run was started with (fingerprint {}, the run's is {})", job.options.corpus, job.data.fingerprint(),
               job.origin.info->corpus_fingerprint);
  }
  const std::map<std::string, std::string> before = Config::parse(job.origin.config, run).given();
  if (const auto was = before.find("train.steps"); was != before.end() && was->second != job.config.values().at("train.steps") && job.config.values().at("train.schedule") == "cosine") {
    job.origin.notes.push_back(fmt::format("train.steps = {}, up to here {}: from here on the learning rates are those of a run of {} steps", job.options.train.steps, was->second, job.options.train.steps));
  }
  if (const i64 steps = job.options.train.steps, done = job.origin.info ? job.origin.info->step : 0; steps < done) {
    user_error("{}: train.steps = {}: the run has done {} steps, and none can be taken back; allowed: {} and more", asked_to_go_on(job.request), steps, done, done);
  }
}

}  // namespace

TrainJob::TrainJob(const comm::Communicator& world, const TrainRequest& asked)
    : request(asked),
      origin(find_origin(world, request)),
      config(read_config(world, request, origin)),
      options(RunOptions::read(config)),
      data(open_data(world, request, origin, options)),
      setup(world, config, data.shape()) {
  config.finish();
  source = data.source(setup.model_config.seq_len, options.train.seed, io::Split::validation);
  if (request.resume) require_same_run(*this);
  if (!request.dry_run || !request.init.empty()) {
    require_room_for_parameters(setup, options.train);
    setup.params.allocate();
  }
  if (takes_trunk()) {
    setup.params.initialise(options.train.seed);
    io::load_trunk(setup.grid, origin.checkpoint, data.tokenizer().vocab(), setup.params);
  } else if (!request.init.empty()) {
    io::load_checkpoint(setup.grid, origin.checkpoint, setup.params, nullptr);
  }
}

bool TrainJob::takes_trunk() const { return !request.init.empty() && origin.info->task != data.shape().task; }

std::string TrainJob::start_in_words() const {
  const io::CheckpointInfo& info = *origin.info;
  if (!takes_trunk()) return fmt::format("starting from the weights of {} (step {})", origin.checkpoint, info.step);
  std::vector<std::string> anew;
  if (setup.params.find(model::k_head)) anew.push_back("the head");
  const i64 tokens = data.tokenizer().vocab(), special = data.shape().vocab - tokens;
  if (special > 0) anew.push_back(fmt::format("the embedding of {} special token{}", special, special == 1 ? "" : "s"));
  return fmt::format("starting from the trunk of {} ({}, step {}): its embedding of {} tokens, all blocks and the last norm; {} begin{} anew", origin.checkpoint,
                     model::task_name(info.task), info.step, tokens, anew.empty() ? "nothing" : fmt::format("{}", fmt::join(anew, " and ")), anew.size() > 1 ? "" : "s");
}

std::string TrainJob::identity() const { return io::run_identity(config.values(), data.fingerprint()); }

bool TrainJob::finished_before() const {
  const comm::Communicator& world = setup.grid.world();
  i64 finished = 0;
  comm::agree_on_root(world, [&] {
    if (!request.resume) return;
    const io::MarkerCheck check = io::check_marker(request.out, identity());
    // Without its last weights it is done anew from an older checkpoint.
    finished = check.finished && check.step == options.train.steps && (check.step == 0 || (origin.info && origin.info->step >= check.step));
    const bool ours = check.there && check.identity == identity() && check.step == options.train.steps;
    // Going on would give a damaged record a new marker.
    if (ours && !check.finished) user_error("{}: this run was finished, but {}", request.out, check.problem);
  });
  return comm::max_over<i64>(world, finished) > 0;
}

i64 TrainJob::last_step() const { return request.stop_at >= 0 ? std::min(request.stop_at, options.train.steps) : options.train.steps; }

train::SamplePlan TrainJob::samples() const {
  return {data.prompt(options.prompt), data.shape().task == model::Task::seq2seq ? io::end_token(data.tokenizer()) : -1};
}

io::CheckpointInfo set_start(TrainJob& job, train::TrainState& state) {
  const RunOrigin& origin = job.origin;
  io::CheckpointInfo info{0, {}, job.data.shape().vocab, job.config.resolved(), job.data.tokenizer(), job.data.fingerprint(), job.data.shape().task, job.data.labels()};
  if (!origin.info) {
    state.params.initialise(job.options.train.seed);
  } else if (job.request.resume) {
    io::load_checkpoint(job.setup.grid, origin.checkpoint, state.params, &state.adam);
    state.step = origin.info->step;
    state.batches_passed_over = origin.info->batches_passed_over;
    state.bad_steps = origin.info->bad_steps;
    info.init_checkpoint = origin.info->init_checkpoint;
    info.init_step = origin.info->init_step;
  } else {
    info.start_from(origin.checkpoint, origin.info->step);
  }
  if (job.request.data_cursor >= 0) {
    state.batches_passed_over = job.request.data_cursor - state.step;
    state.bad_steps = job.request.bad_steps;
  }
  return info;
}

}  // namespace pleiad::app
