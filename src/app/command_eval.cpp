// pleiad eval: the loss of a checkpoint over data, once or for every point of a sweep.
#include <cmath>
#include <cstring>
#include <iostream>
#include <numbers>
#include <optional>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/data_setup.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/app/same_run.hpp"
#include "pleiad/app/sweep.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/watchdog.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

struct EvalRequest {
  std::string checkpoint, corpus, split, csv;
  i64 windows = 0;
  std::vector<std::string> settings;
  std::vector<Sweep> sweeps;
};

bool read_request(const comm::Communicator& world, const Arguments& arguments, EvalRequest& r) {
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint file, or a run directory (its newest one)")(
      "corpus", options::value<std::string>(), "data file of the same task; that of the run if not given")(
      "split", options::value<std::string>()->default_value("validation"), "validation, train or test")(
      "windows", options::value<i64>()->default_value(0), "at most this many windows; 0: all")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the run's configuration")(
      "sweep", options::value<std::vector<std::string>>()->composing(), "section.key=a,b,c: one evaluation for each value, in one table; several make a grid")(
      "csv", options::value<std::string>(), "also write the table of --sweep to this file");
  Values values;
  const std::string usage =
      "usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5] [--split validation|train|test] [--sweep moe.threshold=0.5,0.9,1 [--csv F.csv]]\n"
      "Mean loss of a checkpoint over a corpus.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return false;
  r.checkpoint = value_or<std::string>(values, "checkpoint", "");
  r.corpus = value_or<std::string>(values, "corpus", "");
  r.split = values["split"].as<std::string>();
  r.windows = values["windows"].as<i64>();
  r.settings = value_or<std::vector<std::string>>(values, "set", {});
  for (const std::string& s : value_or<std::vector<std::string>>(values, "sweep", {})) r.sweeps.push_back(Sweep::parse(s));
  r.csv = value_or<std::string>(values, "csv", "");
  if (r.checkpoint.empty()) user_error("eval: no checkpoint given; usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5]");
  if (r.split != "validation" && r.split != "train" && r.split != "test") user_error("--split {}: must be validation, train or test", r.split);
  if (r.windows < 0) user_error("--windows {}: must be at least 0", r.windows);
  if (values.count("csv") && r.sweeps.empty()) user_error("--csv {}: is for the table of --sweep, and there is none", r.csv);
  if (values.count("csv")) require_new_file(world, "--csv", r.csv);
  return true;
}

std::string labels_in_words(const std::vector<std::string>& labels) {
  return labels.empty() ? "" : fmt::format(" with the labels {}", fmt::join(labels, ", "));
}

io::Split part_of(const EvalRequest& r) { return r.split == "train" ? io::Split::train : r.split == "test" ? io::Split::test : io::Split::validation; }

/// A checkpoint with one setting of its options, and the corpus to be evaluated.
struct EvalPoint {
  EvalPoint(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint, std::vector<std::string> settings)
      : loaded(world, checkpoint, settings), run(RunOptions::read(loaded.config)) {
    loaded.config.finish();
    if (!r.corpus.empty()) run.corpus = r.corpus;
  }

  /// The part of the data that is asked for. UserError if they are not of the model's kind.
  std::unique_ptr<train::BatchSource> source(const EvalRequest& r, const Data& data) const {
    const io::CheckpointInfo& info = loaded.info;
    if (data.shape().task != info.task || data.labels() != info.labels) {
      user_error("--corpus {}: is for the task {}{}, the checkpoint for {}{}", run.corpus, model::task_name(data.shape().task), labels_in_words(data.labels()),
                 model::task_name(info.task), labels_in_words(info.labels));
    }
    if (data.tokenizer().fingerprint() != info.tokenizer.fingerprint()) {
      user_error("--corpus {}: was made with another tokenizer ({}, vocabulary {}) than the checkpoint's corpus ({}, vocabulary {})", run.corpus, data.tokenizer().kind(),
                 data.tokenizer().vocab(), info.tokenizer.kind(), info.tokenizer.vocab());
    }
    auto found = data.source(loaded.setup.model_config.seq_len, run.train.seed, part_of(r));
    if (found->evaluation_windows() == 0) user_error("{}: its {} part has no whole window of {} tokens", run.corpus, r.split, loaded.setup.model_config.seq_len);
    return found;
  }

  /// Says it where the file of the run holds something else by now; who names a file means it.
  void note_other_data(const comm::Communicator& world, const EvalRequest& r, const Data& data) const {
    if (!world.root() || !r.corpus.empty() || data.fingerprint() == loaded.info.corpus_fingerprint) return;
    std::cerr << fmt::format("pleiad: note: {} is not the data that the checkpoint was trained on: its fingerprint is {}, that of the data was {}", run.corpus, data.fingerprint(),
                             loaded.info.corpus_fingerprint)
              << std::endl;
  }

  train::EvalReport evaluate(const EvalRequest& r, train::BatchSource& from) const {
    PhaseTimes times;
    return train::evaluate(*loaded.setup.model, loaded.setup.params, from, loaded.setup.grid, run.train.lanes, run.train.batch, r.windows, times);
  }

  LoadedModel loaded;
  RunOptions run;
};

std::vector<std::string> joined(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

void evaluate_once(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint) {
  const EvalPoint point(world, r, checkpoint, r.settings);
  const comm::Watchdog watchdog(world, point.loaded.setup.parallel.stall_seconds, k_exit_stalled, "");
  const Data data = Data::open(world, point.run.corpus, point.run.train.mask_share);
  const auto source = point.source(r, data);
  point.note_other_data(world, r, data);
  const train::EvalReport report = point.evaluate(r, *source);
  if (!world.root()) return;
  Terminal terminal({});
  terminal.on_evaluation(point.loaded.info.step, report);
  if (const std::string note = Data::note(*source); !note.empty()) terminal.say("note: " + note);
  if (const io::Corpus* corpus = data.corpus(); corpus && model::predicts_next(report.task)) {
    const double bytes_per_token = static_cast<double>(corpus->bytes(part_of(r))) / static_cast<double>(std::max<i64>(corpus->tokens(part_of(r)), 1));
    terminal.say(fmt::format("perplexity {:.4f} per token, {:.4f} nat/byte, {:.4f} bit/byte, expert flops {:.0f} per token", std::exp(report.loss),
                             report.loss / bytes_per_token, report.loss / bytes_per_token / std::numbers::ln2, report.expert_flops_per_token));
  }
}

void evaluate_sweep(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint) {
  const std::vector<std::vector<std::string>> points = grid_of(r.sweeps);
  // A mistake in the last point must not show up after the work of all others.
  std::optional<comm::Watchdog> watchdog;
  for (const auto& p : points) {
    const EvalPoint point(world, r, checkpoint, joined(r.settings, p));
    if (!watchdog) watchdog.emplace(world, point.loaded.setup.parallel.stall_seconds, k_exit_stalled, "");
  }
  std::vector<SweepRow> rows;
  const Stopwatch watch;
  Stopwatch since_line;
  for (const auto& p : points) {
    const EvalPoint point(world, r, checkpoint, joined(r.settings, p));
    const Data data = Data::open(world, point.run.corpus, point.run.train.mask_share);
    if (rows.empty()) point.note_other_data(world, r, data);
    rows.push_back(SweepRow::of(p, point.evaluate(r, *point.source(r, data))));
    if (!world.root() || since_line.seconds() < 5) continue;
    since_line.restart();
    std::cerr << fmt::format("sweep: {} of {} points in {}", rows.size(), points.size(), duration(watch.seconds())) << std::endl;
  }
  if (world.root()) std::cout << sweep_table(r.sweeps, rows) << std::flush;
  comm::agree_on_root(world, [&] {
    if (!r.csv.empty()) io::write_output("--csv", r.csv, sweep_csv(r.sweeps, rows));
  });
}

}  // namespace

int run_eval(const comm::Communicator& world, const Arguments& arguments) {
  EvalRequest request;
  if (!read_request(world, arguments, request)) return k_exit_ok;
  const std::string checkpoint = find_checkpoint(world, request.checkpoint);
  (request.sweeps.empty() ? evaluate_once : evaluate_sweep)(world, request, checkpoint);
  return k_exit_ok;
}

}  // namespace pleiad::app
