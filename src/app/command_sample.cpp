// pleiad sample: a checkpoint at work on text: what follows it, its translation, or its label, as the task is.
#include <cmath>
#include <fstream>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/data_setup.hpp"
#include "pleiad/app/same_run.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/watchdog.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/table.hpp"
#include "pleiad/train/decode.hpp"
#include "pleiad/train/generate.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

struct Request {
  std::string checkpoint, prompt, input, output;
  train::SampleOptions sample;
  train::DecodeOptions decode;
};

bool read_request(const comm::Communicator& world, const Arguments& arguments, Request& r) {
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint file, or a run directory (its newest one)")(
      "prompt", options::value<std::string>()->default_value("\n"), "what the text starts with; the source of a translation; the text to label")(
      "input", options::value<std::string>(), "a text file, each line a prompt, instead of --prompt (translation and labels)")(
      "out", options::value<std::string>(), "file for the results of --input, one line each; the terminal if not given")(
      "tokens", options::value<i64>()->default_value(200), "how many tokens to add, at most")(
      "temperature", options::value<double>()->default_value(0.8, "0.8"), "0: always the most probable token")(
      "top-k", options::value<i64>()->default_value(0), "choose among this many most probable tokens; 0: all")(
      "seed", options::value<i64>()->default_value(1), "seed of the draws")(
      "beam", options::value<i64>()->default_value(1), "translation: hypotheses of the beam search; 1: greedy")(
      "length-penalty", options::value<double>()->default_value(0.6, "0.6"), "translation: exponent of the length by which finished hypotheses are ranked");
  Values values;
  const std::string usage = "usage: pleiad sample CHECKPOINT|RUN [--prompt TEXT | --input FILE]\nGenerates text, translates or labels, as the model was trained for.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return false;
  r.checkpoint = value_or<std::string>(values, "checkpoint", "");
  if (r.checkpoint.empty()) user_error("sample: no checkpoint given; usage: pleiad sample CHECKPOINT|RUN [--prompt TEXT]");
  r.prompt = values["prompt"].as<std::string>();
  r.input = value_or<std::string>(values, "input", "");
  r.output = value_or<std::string>(values, "out", "");
  if (!r.output.empty() && r.input.empty()) user_error("--out {}: goes with --input", r.output);
  r.sample = {values["tokens"].as<i64>(), values["temperature"].as<double>(), values["top-k"].as<i64>(), static_cast<std::uint64_t>(values["seed"].as<i64>())};
  if (r.sample.tokens < 0) user_error("--tokens {}: must be at least 0", r.sample.tokens);
  if (!(r.sample.temperature >= 0) || !std::isfinite(r.sample.temperature)) user_error("--temperature {}: must be a number of at least 0", r.sample.temperature);
  if (values["seed"].as<i64>() < 0) user_error("--seed {}: must be at least 0", values["seed"].as<i64>());
  if (r.sample.top_k < 0) user_error("--top-k {}: must be at least 0", r.sample.top_k);
  r.decode.beam = values["beam"].as<i64>();
  if (r.decode.beam < 1 || r.decode.beam > 1024) user_error("--beam {}: must be from 1 to 1024", r.decode.beam);
  r.decode.length_penalty = values["length-penalty"].as<double>();
  if (!(r.decode.length_penalty >= 0) || !std::isfinite(r.decode.length_penalty)) user_error("--length-penalty {}: must be a number of at least 0", r.decode.length_penalty);
  r.decode.max_tokens = r.sample.tokens;
  return true;
}

/// The prompts, the same on every rank. collective.
std::vector<std::string> read_prompts(const comm::Communicator& world, const Request& r) {
  if (r.input.empty()) return {r.prompt};
  std::string text, problem;
  if (world.root()) {
    std::ifstream in(r.input, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(in), {});
    if (!in.is_open() || in.bad()) problem = fmt::format("--input {}: cannot be read", r.input);
  }
  comm::agree(world, comm::broadcast(world, problem));
  text = comm::broadcast(world, text);
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> translate(const LoadedModel& loaded, const std::vector<std::string>& prompts, train::DecodeOptions o, i64 lanes) {
  const io::Tokenizer& tokenizer = loaded.info.tokenizer;
  const i64 room = loaded.setup.model_config.seq_len;
  std::vector<std::vector<std::int32_t>> sources;
  for (const std::string& prompt : prompts) {
    sources.push_back(tokenizer.encode(prompt));
    if (static_cast<i64>(sources.back().size()) + 2 > room) {
      user_error("prompt '{}': has {} tokens; with its target it must fit model.seq_len = {}", prompt.substr(0, 60), sources.back().size(), room);
    }
    sources.back().push_back(io::separator_token(tokenizer));
  }
  o.end = io::end_token(tokenizer);
  std::vector<std::string> results;
  for (const auto& target : train::decode(*loaded.setup.model, loaded.setup.params, sources, o, loaded.setup.grid, lanes)) {
    results.push_back(tokenizer.decode(target));
    for (const char end : {'\n', '\r'}) std::ranges::replace(results.back(), end, ' ');  // a translation is a line
  }
  return results;
}

/// The most probable label of each text and its probability; texts are cut to the model's length. collective.
std::vector<std::string> classify(const LoadedModel& loaded, const std::vector<std::string>& prompts, i64 lanes) {
  const i64 room = loaded.setup.model_config.seq_len, count = static_cast<i64>(prompts.size()), most = 64;
  const comm::Communicator& world = loaded.setup.grid.world();
  std::vector<std::string> results;
  PhaseTimes times;
  model::ModelTrace trace;
  for (i64 first = 0; first < count; first += most) {
    const LaneLayout layout(lanes, std::min(most, count - first), room, world.size(), world.rank());
    model::Batch batch;
    for (i64 i = first + layout.my_sequences().begin; i < first + layout.my_sequences().end(); ++i) {
      std::vector<std::int32_t> tokens = loaded.info.tokenizer.encode(prompts[i]);
      if (tokens.empty()) tokens.push_back(0);
      batch.length.push_back(std::min<i64>(room, static_cast<i64>(tokens.size())));
      tokens.resize(static_cast<std::size_t>(room), 0);
      batch.input.insert(batch.input.end(), tokens.begin(), tokens.end());
      batch.target.push_back(-1);
    }
    loaded.setup.model->forward(loaded.setup.params, batch, {loaded.setup.grid, layout, times, 0, 0, false}, trace);
    const std::vector<real> log_p = comm::all_gather_v<real>(world, std::as_const(trace.log_p).flat());
    const std::size_t classes = loaded.info.labels.size();
    for (std::size_t i = 0; i < log_p.size(); i += classes) {
      const auto best = std::max_element(log_p.begin() + static_cast<i64>(i), log_p.begin() + static_cast<i64>(i + classes));
      results.push_back(fmt::format("{}\t{:.4f}", loaded.info.labels[static_cast<std::size_t>(best - log_p.begin()) - i], std::exp(static_cast<double>(*best))));
    }
  }
  return results;
}

void print_results(const comm::Communicator& world, const std::string& output, const std::vector<std::string>& results) {
  comm::agree_on_root(world, [&] {
    std::string text;
    for (const std::string& line : results) text += line + "\n";
    if (output.empty()) {
      std::cout << text << std::flush;
      return;
    }
    io::write_output("--out", output, text);
  });
}

}  // namespace

int run_sample(const comm::Communicator& world, const Arguments& arguments) {
  Request request;
  if (!read_request(world, arguments, request)) return k_exit_ok;
  LoadedModel loaded(world, find_checkpoint(world, request.checkpoint), {});
  if (loaded.info.task == model::Task::masked_lm) user_error("{}: is a model of masked tokens, which writes no text; 'pleiad eval' says how well it guesses", request.checkpoint);
  const comm::Watchdog watchdog(world, loaded.setup.parallel.stall_seconds, k_exit_stalled, "");
  const std::vector<std::string> prompts = read_prompts(world, request);
  const i64 lanes = train::TrainConfig::read(loaded.config.section("train"), loaded.config.section("checkpoint")).lanes;
  if (loaded.info.task == model::Task::lm) {
    if (!request.input.empty()) user_error("--input {}: goes with translation and labels; this checkpoint is a language model, use --prompt", request.input);
    const std::vector<std::int32_t> prompt = loaded.info.tokenizer.encode(request.prompt);
    if (prompt.empty()) user_error("--prompt: must not be empty");
    const std::vector<std::int32_t> text = train::generate(*loaded.setup.model, loaded.setup.params, prompt, request.sample, loaded.setup.grid);
    print_results(world, "", {report::clean_text(loaded.info.tokenizer.decode(text))});
    return k_exit_ok;
  }
  const bool pairs = loaded.info.task == model::Task::seq2seq;
  print_results(world, request.output, pairs ? translate(loaded, prompts, request.decode, lanes) : classify(loaded, prompts, lanes));
  return k_exit_ok;
}

}  // namespace pleiad::app
