// pleiad eval: the loss of a checkpoint over data.
#include <cmath>
#include <iostream>
#include <numbers>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/data_setup.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/app/terminal.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

std::string labels_in_words(const std::vector<std::string>& labels) {
  return labels.empty() ? "" : fmt::format(" with the labels {}", fmt::join(labels, ", "));
}

}  // namespace

int run_eval(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("checkpoint", options::value<std::string>(), "checkpoint file, or a run directory (its newest one)")(
      "corpus", options::value<std::string>(), "data file of the same task; that of the run if not given")(
      "split", options::value<std::string>()->default_value("validation"), "validation, train or test")(
      "windows", options::value<i64>()->default_value(0), "at most this many windows; 0: all")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value, overrides the run's configuration");
  Values values;
  const std::string usage = "usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5] [--split validation|train|test]\nMean loss of a checkpoint over a corpus.";
  if (!parse_arguments(world, arguments, usage, description, "checkpoint", values)) return k_exit_ok;
  const std::string given = value_or<std::string>(values, "checkpoint", ""), split = values["split"].as<std::string>();
  if (given.empty()) user_error("eval: no checkpoint given; usage: pleiad eval CHECKPOINT|RUN [--corpus F.h5]");
  if (split != "validation" && split != "train" && split != "test") user_error("--split {}: must be validation, train or test", split);
  if (values["windows"].as<i64>() < 0) user_error("--windows {}: must be at least 0", values["windows"].as<i64>());

  const std::string checkpoint = find_checkpoint(world, given);
  LoadedModel loaded(world, checkpoint, value_or<std::vector<std::string>>(values, "set", {}));
  const std::string corpus_path = value_or<std::string>(values, "corpus", loaded.config.section("data").text("corpus", "", "corpus file"));
  const Data data = Data::open(world, corpus_path);
  if (data.shape().task != loaded.info.task || data.labels() != loaded.info.labels) {
    user_error("--corpus {}: is for the task {}{}, the checkpoint for {}{}", corpus_path, model::task_name(data.shape().task), labels_in_words(data.labels()),
               model::task_name(loaded.info.task), labels_in_words(loaded.info.labels));
  }
  if (data.tokenizer().fingerprint() != loaded.info.tokenizer.fingerprint()) {
    user_error("--corpus {}: was made with another tokenizer ({}, vocabulary {}) than the checkpoint's corpus ({}, vocabulary {})", corpus_path, data.tokenizer().kind(),
               data.tokenizer().vocab(), loaded.info.tokenizer.kind(), loaded.info.tokenizer.vocab());
  }
  const train::TrainConfig train_config = train::TrainConfig::read(loaded.config.section("train"), loaded.config.section("checkpoint"));
  const io::Split part = split == "train" ? io::Split::train : split == "test" ? io::Split::test : io::Split::validation;
  const auto source = data.source(loaded.setup.model_config.seq_len, train_config.seed, part);
  if (source->evaluation_windows() == 0) user_error("{}: its {} part has no whole window of {} tokens", corpus_path, split, loaded.setup.model_config.seq_len);
  PhaseTimes times;
  const train::EvalReport report = train::evaluate(*loaded.setup.model, loaded.setup.params, *source, loaded.setup.grid, train_config.lanes,
                                                   train_config.batch, values["windows"].as<i64>(), times);
  if (!world.root()) return k_exit_ok;
  Terminal terminal({});
  terminal.on_evaluation(loaded.info.step, report);
  if (const std::string note = Data::note(*source); !note.empty()) terminal.say("note: " + note);
  if (const io::Corpus* corpus = data.corpus()) {
    const double bytes_per_token = static_cast<double>(corpus->bytes(part)) / static_cast<double>(std::max<i64>(corpus->tokens(part), 1));
    terminal.say(fmt::format("perplexity {:.4f} per token, {:.4f} nat/byte, {:.4f} bit/byte, expert flops {:.0f} per token", std::exp(report.loss),
                             report.loss / bytes_per_token, report.loss / bytes_per_token / std::numbers::ln2, report.expert_flops_per_token));
  }
  return k_exit_ok;
}

}  // namespace pleiad::app
