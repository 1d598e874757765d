// pleiad eval and pleiad sample: a checkpoint at work.
#include <cmath>
#include <iostream>
#include <numbers>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/model_setup.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/io/corpus_source.hpp"
#include "pleiad/train/generate.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

int run_eval(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint file, or a run directory (its newest one)")(
      "corpus", options::value<std::string>(), "corpus file; that of the run if not given")(
      "split", options::value<std::string>()->default_value("validation"), "validation or train")(
      "windows", options::value<i64>()->default_value(0), "at most this many windows; 0: all")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the run's configuration");
  Values values;
  const std::string usage = "usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5] [--split validation|train]\nMean loss of a checkpoint over a corpus.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return k_exit_ok;
  const std::string given = value_or<std::string>(values, "checkpoint", ""), split = values["split"].as<std::string>();
  if (given.empty()) user_error("eval: no checkpoint given; usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5]");
  if (split != "validation" && split != "train") user_error("--split {}: must be validation or train", split);
  if (values["windows"].as<i64>() < 0) user_error("--windows {}: must be at least 0", values["windows"].as<i64>());

  const std::string checkpoint = find_checkpoint(world, given);
  LoadedModel loaded(world, checkpoint, value_or<std::vector<std::string>>(values, "set", {}));
  const std::string corpus_path = value_or<std::string>(values, "corpus", loaded.config.section("data").text("corpus", "", "corpus file"));
  const io::Corpus corpus = io::Corpus::open(world, corpus_path);
  corpus.require_vocab(loaded.info.vocab);
  if (corpus.tokenizer().fingerprint() != loaded.info.tokenizer.fingerprint()) {
    user_error("--corpus {}: was made with another tokenizer ({}) than the checkpoint's corpus", corpus_path, corpus.tokenizer().kind());
  }
  const train::TrainConfig train_config = train::TrainConfig::read(loaded.config.section("train"), loaded.config.section("checkpoint"));
  const io::Split part = split == "train" ? io::Split::train : io::Split::validation;
  io::CorpusSource source(corpus, loaded.setup.model_config.seq_len, train_config.seed, part);
  if (source.evaluation_windows() == 0) user_error("{}: its {} part has no whole window of {} tokens", corpus_path, split, loaded.setup.model_config.seq_len);
  PhaseTimes times;
  const train::EvalReport report = train::evaluate(*loaded.setup.model, loaded.setup.params, source, loaded.setup.grid, train_config.lanes,
                                                   train_config.batch, values["windows"].as<i64>(), times);
  if (!world.root()) return k_exit_ok;
  Terminal terminal({});
  terminal.on_evaluation(loaded.info.step, report);
  const double bytes_per_token = static_cast<double>(corpus.bytes(part)) / static_cast<double>(std::max<i64>(corpus.tokens(part), 1));
  terminal.say(fmt::format("perplexity {:.4f} per token, {:.4f} nat/byte, {:.4f} bit/byte, expert flops {:.0f} per token", std::exp(report.loss),
                           report.loss / bytes_per_token, report.loss / bytes_per_token / std::numbers::ln2, report.expert_flops_per_token));
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
