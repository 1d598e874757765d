// pleiad eval and pleiad sample: a checkpoint at work.
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <numbers>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/model_setup.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/app/sweep.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/corpus_source.hpp"
#include "pleiad/train/generate.hpp"

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
      "corpus", options::value<std::string>(), "corpus file; that of the run if not given")(
      "split", options::value<std::string>()->default_value("validation"), "validation or train")(
      "windows", options::value<i64>()->default_value(0), "at most this many windows; 0: all")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the run's configuration")(
      "sweep", options::value<std::vector<std::string>>()->composing(), "section.key=a,b,c: one evaluation for each value, in one table; several make a grid")(
      "csv", options::value<std::string>(), "also write the table of --sweep to this file");
  Values values;
  const std::string usage =
      "usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5] [--split validation|train] [--sweep moe.threshold=0.5,0.9,1 [--csv F.csv]]\n"
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
  if (r.split != "validation" && r.split != "train") user_error("--split {}: must be validation or train", r.split);
  if (r.windows < 0) user_error("--windows {}: must be at least 0", r.windows);
  if (values.count("csv") && r.sweeps.empty()) user_error("--csv {}: is for the table of --sweep, and there is none", r.csv);
  if (values.count("csv")) require_new_file(world, "--csv", r.csv);
  return true;
}

/// A checkpoint with one setting of its options, and the corpus to be evaluated.
struct EvalPoint {
  EvalPoint(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint, std::vector<std::string> settings)
      : loaded(world, checkpoint, settings), run(RunOptions::read(loaded.config)) {
    loaded.config.finish();
    if (!r.corpus.empty()) run.corpus = r.corpus;
  }

  train::EvalReport evaluate(const EvalRequest& r, const io::Corpus& corpus, io::Split part) {
    corpus.require_vocab(loaded.info.vocab);
    if (corpus.tokenizer().fingerprint() != loaded.info.tokenizer.fingerprint()) {
      user_error("--corpus {}: was made with another tokenizer ({}) than the checkpoint's corpus", run.corpus, corpus.tokenizer().kind());
    }
    const i64 seq_len = loaded.setup.model_config.seq_len;
    io::CorpusSource source(corpus, seq_len, run.train.seed, part);
    if (source.evaluation_windows() == 0) user_error("{}: its {} part has no whole window of {} tokens", run.corpus, r.split, seq_len);
    PhaseTimes times;
    return train::evaluate(*loaded.setup.model, loaded.setup.params, source, loaded.setup.grid, run.train.lanes, run.train.batch, r.windows, times);
  }

  LoadedModel loaded;
  RunOptions run;
};

std::vector<std::string> joined(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

void evaluate_once(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint, io::Split part) {
  EvalPoint point(world, r, checkpoint, r.settings);
  const io::Corpus corpus = io::Corpus::open(world, point.run.corpus);
  const train::EvalReport report = point.evaluate(r, corpus, part);
  if (!world.root()) return;
  Terminal terminal({});
  terminal.on_evaluation(point.loaded.info.step, report);
  const double bytes_per_token = static_cast<double>(corpus.bytes(part)) / static_cast<double>(std::max<i64>(corpus.tokens(part), 1));
  terminal.say(fmt::format("perplexity {:.4f} per token, {:.4f} nat/byte, {:.4f} bit/byte, expert flops {:.0f} per token", std::exp(report.loss),
                           report.loss / bytes_per_token, report.loss / bytes_per_token / std::numbers::ln2, report.expert_flops_per_token));
}

void evaluate_sweep(const comm::Communicator& world, const EvalRequest& r, const std::string& checkpoint, io::Split part) {
  const std::vector<std::vector<std::string>> points = grid_of(r.sweeps);
  // A mistake in the last point must not show up after the work of all others.
  for (const auto& p : points) EvalPoint(world, r, checkpoint, joined(r.settings, p));
  std::vector<SweepRow> rows;
  const Stopwatch watch;
  Stopwatch since_line;
  for (const auto& p : points) {
    EvalPoint point(world, r, checkpoint, joined(r.settings, p));
    rows.push_back(SweepRow::of(p, point.evaluate(r, io::Corpus::open(world, point.run.corpus), part)));
    if (!world.root() || since_line.seconds() < 5) continue;
    since_line.restart();
    std::cerr << fmt::format("sweep: {} of {} points in {}", rows.size(), points.size(), duration(watch.seconds())) << std::endl;
  }
  if (world.root()) std::cout << sweep_table(r.sweeps, rows) << std::flush;
  comm::agree_on(world, [&] {
    if (!world.root() || r.csv.empty()) return;
    std::ofstream file(r.csv);
    file << sweep_csv(r.sweeps, rows);
    if (!file.flush()) user_error("--csv {}: cannot be written ({})", r.csv, std::strerror(errno));
  });
}

}  // namespace

int run_eval(const comm::Communicator& world, const Arguments& arguments) {
  EvalRequest request;
  if (!read_request(world, arguments, request)) return k_exit_ok;
  const std::string checkpoint = find_checkpoint(world, request.checkpoint);
  const io::Split part = request.split == "train" ? io::Split::train : io::Split::validation;
  (request.sweeps.empty() ? evaluate_once : evaluate_sweep)(world, request, checkpoint, part);
  return k_exit_ok;
}

int run_sample(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint file, or a run directory (its newest one)")(
      "prompt", options::value<std::string>()->default_value("\n"), "what the text starts with")(
      "tokens", options::value<i64>()->default_value(200), "how many tokens to add")(
      "temperature", options::value<double>()->default_value(0.8, "0.8"), "0: always the most probable token")(
      "top-k", options::value<i64>()->default_value(0), "choose among this many most probable tokens; 0: all")(
      "seed", options::value<i64>()->default_value(1), "seed of the draws");
  Values values;
  const std::string usage = "usage: pleiad sample CHECKPOINT|RUN [--prompt TEXT] [--tokens N]\nGenerates text.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return k_exit_ok;
  const std::string given = value_or<std::string>(values, "checkpoint", "");
  if (given.empty()) user_error("sample: no checkpoint given; usage: pleiad sample CHECKPOINT|RUN [--prompt TEXT]");
  const train::SampleOptions o{values["tokens"].as<i64>(), values["temperature"].as<double>(), values["top-k"].as<i64>(),
                               static_cast<std::uint64_t>(values["seed"].as<i64>())};
  if (o.tokens < 0) user_error("--tokens {}: must be at least 0", o.tokens);
  if (!(o.temperature >= 0) || !std::isfinite(o.temperature)) user_error("--temperature {}: must be a number of at least 0", o.temperature);
  if (values["seed"].as<i64>() < 0) user_error("--seed {}: must be at least 0", values["seed"].as<i64>());
  if (o.top_k < 0) user_error("--top-k {}: must be at least 0", o.top_k);
  LoadedModel loaded(world, find_checkpoint(world, given), {});
  const std::vector<std::int32_t> prompt = loaded.info.tokenizer.encode(values["prompt"].as<std::string>());
  if (prompt.empty()) user_error("--prompt: must not be empty");
  const std::vector<std::int32_t> text = train::generate(*loaded.setup.model, loaded.setup.params, prompt, o, loaded.setup.grid);
  if (world.root()) std::cout << loaded.info.tokenizer.decode(text) << std::endl;
  return k_exit_ok;
}

}  // namespace pleiad::app
