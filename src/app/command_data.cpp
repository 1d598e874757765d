// pleiad data build | synth | info: corpora.
#include <iostream>
#include <limits>

#include "pleiad/app/arguments.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/synth.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

const char* const k_usage = "usage: pleiad data build --out F.h5 TEXT...   text files to a corpus\n       pleiad data synth --out F.h5          a corpus with known truth\n       pleiad data info F.h5                 what a corpus holds";

/// A whole number option that must lie in a range.
i64 whole(const Values& values, const char* name, i64 low, i64 high) {
  const i64 value = values[name].as<i64>();
  if (value < low || value > high) user_error("--{} {}: must be from {} to {}", name, value, low, high);
  return value;
}

std::string required_out(const Values& values, const char* command) {
  if (!values.count("out")) user_error("data {}: --out is missing; give the corpus file to write", command);
  return values["out"].as<std::string>();
}

void print_info(const std::string& path) {
  for (const std::string& line : io::Corpus::load(path).describe()) std::cout << line << "\n";
}

int build(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  io::CorpusOptions o;
  description.add_options()("file", options::value<std::vector<std::string>>(), "text files, also without --file")(
      "out", options::value<std::string>(), "corpus file to write")(
      "tokenizer", options::value<std::string>()->default_value(o.tokenizer), "bytes, or sentencepiece (trained on the training part)")(
      "vocab", options::value<i64>()->default_value(o.sentencepiece.vocab), "sentencepiece: vocabulary")(
      "sentencepiece-model", options::value<std::string>()->default_value(o.sentencepiece.model), "unigram or bpe")(
      "validation", options::value<double>()->default_value(o.validation_fraction, fmt::format("{}", o.validation_fraction)), "held-out fraction of the bytes, from the end")(
      "force", options::bool_switch(), "replace an existing file");
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "file", values)) return k_exit_ok;
  o.files = value_or<std::vector<std::string>>(values, "file", {});
  if (o.files.empty()) user_error("data build: no text file given; usage: pleiad data build --out F.h5 TEXT...");
  o.out = required_out(values, "build");
  o.tokenizer = values["tokenizer"].as<std::string>();
  if (o.tokenizer != "bytes" && o.tokenizer != "sentencepiece") user_error("--tokenizer {}: must be bytes or sentencepiece", o.tokenizer);
  o.sentencepiece.vocab = values["vocab"].as<i64>();
  o.sentencepiece.model = values["sentencepiece-model"].as<std::string>();
  o.validation_fraction = values["validation"].as<double>();
  o.force = values["force"].as<bool>();
  io::build_corpus(o);
  print_info(o.out);
  return k_exit_ok;
}

int synth(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  io::SynthOptions o;
  description.add_options()("out", options::value<std::string>(), "corpus file to write")(
      "tokens", options::value<i64>()->default_value(o.tokens), "tokens in all")(
      "document", options::value<i64>()->default_value(o.document_length), "tokens in a document, which is of one domain")(
      "domains", options::value<std::string>()->default_value(fmt::format("{}", fmt::join(o.domains, ","))), "latent domains, comma-separated")(
      "seed", options::value<i64>()->default_value(1), "seed of everything")(
      "validation", options::value<double>()->default_value(o.validation_fraction, fmt::format("{}", o.validation_fraction)), "held-out fraction of the documents")(
      "force", options::bool_switch(), "replace an existing file");
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "", values)) return k_exit_ok;
  const std::string out = required_out(values, "synth");
  o.tokens = values["tokens"].as<i64>();
  o.document_length = values["document"].as<i64>();
  o.seed = static_cast<std::uint64_t>(whole(values, "seed", 0, std::numeric_limits<i64>::max()));
  o.validation_fraction = values["validation"].as<double>();
  o.force = values["force"].as<bool>();
  o.domains.clear();
  std::string list = values["domains"].as<std::string>() + ",";
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t comma = list.find(',', at);
    if (comma > at) o.domains.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  io::synth_corpus(o, out);
  print_info(out);
  return k_exit_ok;
}

}  // namespace

int run_data(const comm::Communicator& world, const Arguments& arguments) {
  const std::string what = arguments.empty() ? "" : arguments[0];
  const Arguments rest(arguments.begin() + !arguments.empty(), arguments.end());
  if (what == "build") return build(world, rest);
  if (what == "synth") return synth(world, rest);
  const bool info = what == "info";
  if (what == "--help" || what == "-h" || (info && !rest.empty() && (rest[0] == "--help" || rest[0] == "-h"))) {
    std::cout << k_usage << "\n";
    return k_exit_ok;
  }
  if (info) {
    if (rest.size() != 1) user_error("data info: give one corpus file");
    print_info(rest[0]);
    return k_exit_ok;
  }
  user_error("data {}: must be build, synth or info", what.empty() ? "(nothing)" : what);
}

}  // namespace pleiad::app
