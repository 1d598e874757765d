// pleiad data build | synth | labelled | pairs | info: corpora and examples.
#include <iostream>
#include <limits>

#include "pleiad/app/arguments.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/examples.hpp"
#include "pleiad/io/synth.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

const char* const k_usage =
    "usage: pleiad data build --out F.h5 TEXT...   text files to a corpus (language model)\n"
    "       pleiad data synth --out F.h5          a corpus with known truth\n"
    "       pleiad data labelled --out F.h5 --train A.tsv --validation B.tsv     texts with labels (classifier)\n"
    "       pleiad data pairs --out F.h5 --train A.en,A.de --validation B.en,B.de   sources and targets (sequence to sequence)\n"
    "       pleiad data info F.h5                 what a data file holds";

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
  const bool examples = io::H5File::open(path).attribute_in_words("/", "format") == io::k_examples_format;
  for (const std::string& line : examples ? io::Examples::load(path).describe() : io::Corpus::load(path).describe()) std::cout << line << "\n";
}

void add_tokenizer_options(options::options_description& description) {
  const io::TokenizerOptions o;
  description.add_options()("tokenizer", options::value<std::string>()->default_value(o.kind), "bytes, or sentencepiece (trained on the training part)")(
      "tokenizer-of", options::value<std::string>(), "use the tokenizer of this data file, as whatever starts from a model of those data needs")(
      "vocab", options::value<i64>()->default_value(o.sentencepiece.vocab), "sentencepiece: vocabulary")(
      "sentencepiece-model", options::value<std::string>()->default_value(o.sentencepiece.model), "unigram or bpe");
}

io::TokenizerOptions tokenizer_options(const Values& values) {
  io::TokenizerOptions o;
  if (values.count("tokenizer-of")) {
    const std::string other = values["tokenizer-of"].as<std::string>();
    for (const char* one : {"tokenizer", "vocab", "sentencepiece-model"}) {
      if (!values[one].defaulted()) user_error("--tokenizer-of {}: has a tokenizer already; leave --{} out", other, one);
    }
    const io::H5File file = io::H5File::open(other);
    io::require_data_format(file);
    o.given = io::read_tokenizer(file);
    return o;
  }
  o.kind = values["tokenizer"].as<std::string>();
  if (o.kind != "bytes" && o.kind != "sentencepiece") user_error("--tokenizer {}: must be bytes or sentencepiece", o.kind);
  o.sentencepiece.vocab = values["vocab"].as<i64>();
  o.sentencepiece.model = values["sentencepiece-model"].as<std::string>();
  return o;
}

int build(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  io::CorpusOptions o;
  description.add_options()("file", options::value<std::vector<std::string>>(), "text files, also without --file")(
      "out", options::value<std::string>(), "corpus file to write")(
      "validation", options::value<double>()->default_value(o.validation_fraction, fmt::format("{}", o.validation_fraction)), "held-out fraction of the bytes, from the end")(
      "force", options::bool_switch(), "replace an existing file");
  add_tokenizer_options(description);
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "file", values)) return k_exit_ok;
  o.files = value_or<std::vector<std::string>>(values, "file", {});
  if (o.files.empty()) user_error("data build: no text file given; usage: pleiad data build --out F.h5 TEXT...");
  o.out = required_out(values, "build");
  o.tokenizer = tokenizer_options(values);
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

int labelled(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  io::LabelledOptions o;
  description.add_options()("train", options::value<std::string>(), "tab-separated file to train on")(
      "validation", options::value<std::string>(), "tab-separated file to evaluate on")("test", options::value<std::string>(), "another one, for 'pleiad eval --split test'")(
      "text-column", options::value<i64>()->default_value(1), "column of the text, counted from 1")(
      "label-column", options::value<i64>()->default_value(2), "column of the label")("header", options::bool_switch(), "the first line names the columns")(
      "out", options::value<std::string>(), "file to write")("force", options::bool_switch(), "replace an existing file");
  add_tokenizer_options(description);
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "", values)) return k_exit_ok;
  for (const char* part : {"train", "validation"}) {
    if (!values.count(part)) user_error("data labelled: --{} is missing; give a tab-separated file", part);
  }
  o.train = values["train"].as<std::string>();
  o.validation = values["validation"].as<std::string>();
  o.test = value_or<std::string>(values, "test", "");
  o.text_column = whole(values, "text-column", 1, 1000);
  o.label_column = whole(values, "label-column", 1, 1000);
  if (o.text_column == o.label_column) user_error("--label-column {}: is the column of the text as well", o.label_column);
  o.header = values["header"].as<bool>();
  o.tokenizer = tokenizer_options(values);
  o.out = required_out(values, "labelled");
  o.force = values["force"].as<bool>();
  io::build_labelled(o);
  print_info(o.out);
  return k_exit_ok;
}

/// SOURCE,TARGET of an option.
io::PairFiles pair_of(const Values& values, const std::string& name, bool required) {
  if (!values.count(name)) {
    if (required) user_error("data pairs: --{} is missing; give SOURCE,TARGET", name);
    return {};
  }
  const std::string both = values[name].as<std::string>();
  const std::size_t comma = both.find(',');
  if (comma == std::string::npos || comma == 0 || comma + 1 == both.size() || both.find(',', comma + 1) != std::string::npos) {
    user_error("--{} {}: must be two files, SOURCE,TARGET", name, both);
  }
  return {both.substr(0, comma), both.substr(comma + 1)};
}

int pairs(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  io::PairOptions o;
  description.add_options()("train", options::value<std::string>(), "SOURCE,TARGET: two text files of as many lines")(
      "validation", options::value<std::string>(), "SOURCE,TARGET to evaluate on")("test", options::value<std::string>(), "SOURCE,TARGET for 'pleiad eval --split test'")(
      "out", options::value<std::string>(), "file to write")("force", options::bool_switch(), "replace an existing file");
  add_tokenizer_options(description);
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "", values)) return k_exit_ok;
  o.train = pair_of(values, "train", true);
  o.validation = pair_of(values, "validation", true);
  o.test = pair_of(values, "test", false);
  o.tokenizer = tokenizer_options(values);
  o.out = required_out(values, "pairs");
  o.force = values["force"].as<bool>();
  io::build_pairs(o);
  print_info(o.out);
  return k_exit_ok;
}

}  // namespace

int run_data(const comm::Communicator& world, const Arguments& arguments) {
  const std::string what = arguments.empty() ? "" : arguments[0];
  const Arguments rest(arguments.begin() + !arguments.empty(), arguments.end());
  if (what == "build") return build(world, rest);
  if (what == "synth") return synth(world, rest);
  if (what == "labelled") return labelled(world, rest);
  if (what == "pairs") return pairs(world, rest);
  const bool info = what == "info";
  if (what == "--help" || what == "-h" || (info && !rest.empty() && (rest[0] == "--help" || rest[0] == "-h"))) {
    std::cout << k_usage << "\n";
    return k_exit_ok;
  }
  if (info) {
    if (rest.size() != 1) user_error("data info: give one data file");
    print_info(rest[0]);
    return k_exit_ok;
  }
  user_error("data {}: must be build, synth, labelled, pairs or info", what.empty() ? "(nothing)" : what);
}

}  // namespace pleiad::app
