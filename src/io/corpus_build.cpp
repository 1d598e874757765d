// Making corpus files. Reading them: corpus.cpp.
#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/corpus.hpp"
#include "pleiad/io/h5.hpp"

#include <chrono>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fstream>

namespace pleiad::io {

namespace fs = std::filesystem;

namespace {

constexpr i64 k_chunk = i64{1} << 16;
constexpr int k_deflate = 4;

/// Removes a half-written file unless it was published.
class Unfinished {
 public:
  explicit Unfinished(std::string path) : path_(std::move(path)) {}
  ~Unfinished() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_text_file(const std::string& path) {
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  if (!fs::exists(status)) user_error("text file '{}' does not exist", path);
  if (fs::is_directory(status)) user_error("text file '{}' is a folder; name the files in it", path);
  std::ifstream in(path, std::ios::binary);
  if (!in) user_error("text file '{}' cannot be read", path);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) user_error("text file '{}' cannot be read to its end", path);
  return text;
}

std::string now_in_utc() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

template <class T>
void add_bytes(Sha256& sum, const std::vector<T>& values) {
  sum.add({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

/// Over the values as they lie in memory (little-endian).
std::string fingerprint_of(const CorpusContent& content) {
  Sha256 sum;
  sum.add(content.tokenizer.serialise());
  sum.add(
      fmt::format("{} {} {}", content.window_alignment, content.train.tokens.size(), fmt::join(content.domains, ",")));
  for (const CorpusContent::Part* part : {&content.train, &content.validation}) {
    add_bytes(sum, part->tokens);
    add_bytes(sum, part->domain);
    add_bytes(sum, part->entropy);
  }
  return sum.hex().substr(0, 16);
}

void write_part(H5File& file, const std::string& group, const CorpusContent::Part& part, const CorpusContent& content) {
  const Shape shape = {static_cast<i64>(part.tokens.size())};
  const auto options = [](const char* units, const char* description) {
    return DatasetOptions{.units = units, .description = description, .chunk_rows = k_chunk, .deflate = k_deflate};
  };
  const DatasetOptions of_tokens = options("token", "token numbers in text order");
  if (content.tokenizer.vocab() <= 65536) {
    const std::vector<std::uint16_t> tokens(part.tokens.begin(), part.tokens.end());
    file.write<std::uint16_t>(group + "/tokens", tokens, shape, of_tokens);
  } else {
    file.write<std::int32_t>(group + "/tokens", part.tokens, shape, of_tokens);
  }
  file.set_attribute(group, "bytes", part.bytes);
  if (!content.domains.empty()) {
    file.write<std::uint8_t>(group + "/domain", part.domain, shape,
                             options("1", "true domain of every token, a place in /domains"));
  }
  if (!content.train.entropy.empty()) {
    file.write<float>(group + "/entropy", part.entropy, shape,
                      options("nats", "true entropy of every token given the tokens before it in its document"));
  }
}

void write_sources(H5File& file, const std::vector<CorpusContent::Source>& sources) {
  std::vector<std::string> names, sums;
  std::vector<i64> bytes;
  for (const auto& source : sources) {
    names.push_back(source.name);
    sums.push_back(source.sha256);
    bytes.push_back(source.bytes);
  }
  file.write_texts("/sources/name", names, "names of the text files, in order");
  file.write_texts("/sources/sha256", sums, "SHA-256 of each file");
  file.write<i64>("/sources/bytes", bytes, {static_cast<i64>(bytes.size())},
                  {.units = "bytes", .description = "size of each file"});
}

void write_all(H5File& file, const CorpusContent& content) {
  const Tokenizer& tokenizer = content.tokenizer;
  file.set_attribute("/", "format", k_corpus_format);
  file.set_attribute("/", "origin", content.origin);
  file.set_attribute("/", "vocab", tokenizer.vocab());
  file.set_attribute("/", "tokenizer", tokenizer.kind());
  file.set_attribute("/", "tokenizer_fingerprint", tokenizer.fingerprint());
  file.set_attribute("/", "window_alignment", content.window_alignment);
  file.set_attribute("/", "validation_fraction", content.validation_fraction);
  file.set_attribute("/", "split_rule", content.split_rule);
  file.set_attribute("/", "fingerprint", fingerprint_of(content));
  file.set_attribute("/", "pleiad_version", std::string(core::build_info().version));
  file.set_attribute("/", "created", now_in_utc());
  file.write_text("/options", content.options, "the options this corpus was made with");
  const std::string model = tokenizer.model();
  if (!model.empty()) {
    const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(model.data()), model.size());
    file.write<std::uint8_t>(
        "/tokenizer/model", bytes, {static_cast<i64>(model.size())},
        {.units = "bytes", .description = "SentencePiece model file", .chunk_rows = k_chunk, .deflate = k_deflate});
  }
  if (!content.domains.empty()) file.write_texts("/domains", content.domains, "names of the domains");
  if (!content.sources.empty()) write_sources(file, content.sources);
  write_part(file, "/train", content.train, content);
  write_part(file, "/validation", content.validation, content);
}

}  // namespace

void check_output(const std::string& out, bool force) {
  if (out.empty()) user_error("no output file was named");
  if (fs::is_directory(out)) user_error("output '{}' is a folder; a file name is needed", out);
  if (!force && fs::exists(out))
    user_error("output '{}' exists already; choose another name, or replace it with --force", out);
  const Unfinished trial(temporary_name(out));
  H5File::create(trial.path());
}

void write_corpus(const CorpusContent& content, const std::string& out, bool force) {
  check_output(out, force);
  for (const CorpusContent::Part* part : {&content.train, &content.validation}) {
    const std::size_t domains = content.domains.empty() ? 0 : part->tokens.size();
    const std::size_t entropies = content.train.entropy.empty() ? 0 : part->tokens.size();
    PLEIAD_CHECK(part->domain.size() == domains, "{} domains for {} tokens", part->domain.size(), part->tokens.size());
    PLEIAD_CHECK(part->entropy.size() == entropies, "{} entropies for {} tokens", part->entropy.size(),
                 part->tokens.size());
  }
  const Unfinished unfinished(temporary_name(out));
  H5File file = H5File::create(unfinished.path());
  write_all(file, content);
  file.close();
  publish(unfinished.path(), out);
}

void build_corpus(const CorpusOptions& options) {
  if (options.files.empty()) user_error("no text file was named to build a corpus from");
  if (!(options.validation_fraction >= 0 && options.validation_fraction <= 0.9)) {
    user_error("validation fraction is {}; allowed: 0 to 0.9", options.validation_fraction);
  }
  if (options.tokenizer != "bytes" && options.tokenizer != "sentencepiece") {
    user_error("tokenizer '{}' is unknown; allowed: bytes, sentencepiece", options.tokenizer);
  }
  check_output(options.out, options.force);

  CorpusContent content;
  std::string text;
  for (const std::string& path : options.files) {
    std::error_code ignored;
    if (fs::equivalent(path, options.out, ignored)) user_error("output '{}' is one of the text files", options.out);
    const std::string piece = read_text_file(path);
    content.sources.push_back({fs::path(path).filename().string(), sha256(piece), static_cast<i64>(piece.size())});
    text += piece;
  }
  if (text.empty()) user_error("the corpus is empty: no text in {}", fmt::join(options.files, ", "));

  // floor(), with a hair's breadth against products like 9.999999999.
  const auto cut =
      static_cast<std::size_t>(static_cast<double>(text.size()) * (1 - options.validation_fraction) + 1e-6);
  const std::string_view train = std::string_view(text).substr(0, cut), validation = std::string_view(text).substr(cut);
  if (train.empty()) user_error("the corpus is empty: {} bytes leave nothing to train on", text.size());
  const bool pieces = options.tokenizer == "sentencepiece";
  if (pieces) content.tokenizer = Tokenizer::train_sentencepiece(train, options.sentencepiece);
  content.train = {.tokens = content.tokenizer.encode(train), .bytes = static_cast<i64>(train.size())};
  content.validation = {.tokens = content.tokenizer.encode(validation), .bytes = static_cast<i64>(validation.size())};
  content.origin = "text";
  content.validation_fraction = options.validation_fraction;
  content.split_rule =
      fmt::format("validation is the last {} of {} bytes of the files in order", validation.size(), text.size());
  content.options =
      fmt::format("tokenizer = {}\nvalidation_fraction = {}\n", options.tokenizer, options.validation_fraction);
  if (pieces) {
    const SentencePieceOptions& s = options.sentencepiece;
    content.options += fmt::format("vocab = {}\nmodel = {}\ntraining_bytes = {}\ncharacter_coverage = {}\n", s.vocab,
                                   s.model, s.training_bytes, s.character_coverage);
  }
  write_corpus(content, options.out, options.force);
}

}  // namespace pleiad::io
