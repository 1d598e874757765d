#include "pleiad/io/data_file.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::io {

namespace fs = std::filesystem;

namespace {

std::string now_in_utc() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace

void TokenizerOptions::check() const {
  if (!given && kind != "bytes" && kind != "sentencepiece") user_error("tokenizer '{}' is unknown; allowed: bytes, sentencepiece", kind);
}

Tokenizer TokenizerOptions::make(const std::function<std::string()>& training_text) const {
  if (given) return *given;
  return kind == "sentencepiece" ? Tokenizer::train_sentencepiece(training_text(), sentencepiece) : Tokenizer();
}

std::string TokenizerOptions::words() const {
  if (given) return fmt::format("tokenizer = {} of other data, fingerprint {}\n", given->kind(), given->fingerprint());
  const SentencePieceOptions& s = sentencepiece;
  std::string text = fmt::format("tokenizer = {}\n", kind);
  if (kind == "sentencepiece") {
    text += fmt::format("vocab = {}\nmodel = {}\ntraining_bytes = {}\ncharacter_coverage = {}\n", s.vocab, s.model, s.training_bytes, s.character_coverage);
  }
  return text;
}

Unfinished::Unfinished(std::string out, bool force) : out_(std::move(out)), path_(temporary_name(out_)) {
  if (out_.empty()) user_error("no output file was named");
  if (fs::is_directory(out_)) user_error("output '{}' is a folder; a file name is needed", out_);
  if (!force && fs::exists(out_)) user_error("output '{}' exists already; choose another name, or replace it with --force", out_);
  H5File::create(path_);
}

Unfinished::~Unfinished() {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

void Unfinished::publish() { io::publish(path_, out_); }

std::string read_text_file(const std::string& path, const std::string& out, std::vector<TextSource>& sources) {
  std::error_code problem;
  const fs::file_status status = fs::status(path, problem);
  if (!fs::exists(status)) user_error("text file '{}' does not exist", path);
  if (fs::is_directory(status)) user_error("text file '{}' is a folder; name the files in it", path);
  if (is_pipe_or_device(path)) user_error("text file '{}' is a pipe or a device; a file is needed", path);
  if (fs::equivalent(path, out, problem)) user_error("output '{}' is one of the text files", out);
  std::ifstream in(path, std::ios::binary);
  if (!in) user_error("text file '{}' cannot be read", path);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) user_error("text file '{}' cannot be read to its end", path);
  sources.push_back({fs::path(path).filename().string(), sha256(text), static_cast<i64>(text.size())});
  return text;
}

void write_making(H5File& file, const std::string& format, const Tokenizer& tokenizer, const std::vector<TextSource>& sources, const std::string& options) {
  file.set_attribute("/", "format", format);
  file.set_attribute("/", "tokenizer", tokenizer.kind());
  file.set_attribute("/", "tokenizer_fingerprint", tokenizer.fingerprint());
  file.set_attribute("/", "pleiad_version", std::string(core::build_info().version));
  file.set_attribute("/", "created", now_in_utc());
  file.write_text("/options", options, "the options this file was made with");
  const std::string model = tokenizer.model();
  if (!model.empty()) {
    const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(model.data()), model.size());
    file.write<std::uint8_t>("/tokenizer/model", bytes, {static_cast<i64>(model.size())},
                             {.units = "bytes", .description = "SentencePiece model file", .chunk_rows = i64{1} << 16, .deflate = 4});
  }
  if (sources.empty()) return;
  std::vector<std::string> names, sums;
  std::vector<i64> bytes;
  for (const TextSource& source : sources) {
    names.push_back(source.name);
    sums.push_back(source.sha256);
    bytes.push_back(source.bytes);
  }
  file.write_texts("/sources/name", names, "names of the text files, in order");
  file.write_texts("/sources/sha256", sums, "SHA-256 of each file");
  file.write<i64>("/sources/bytes", bytes, {static_cast<i64>(bytes.size())}, {.units = "bytes", .description = "size of each file"});
}

Tokenizer read_tokenizer(const H5File& file) {
  const std::string kind = file.text("/", "tokenizer");
  std::string model;
  if (kind == "sentencepiece") {
    const std::vector<std::uint8_t> bytes = file.read<std::uint8_t>("/tokenizer/model");
    model.assign(bytes.begin(), bytes.end());
  }
  return Tokenizer::from_model(kind, model);
}

std::string require_data_format(const H5File& file) {
  const std::string format = file.attribute_in_words("/", "format");
  if (format != k_corpus_format && format != k_examples_format) {
    user_error("{}: is not a data file: its format is '{}', needed is {} or {}", file.path(), format, k_corpus_format, k_examples_format);
  }
  return format;
}

void verify_content(const H5File& file) {
  if (file.has_attribute("/", "checksum")) file.verify();
}

std::vector<std::string> provenance(const H5File& file) {
  std::vector<std::string> lines;
  for (const char* name : {"origin", "split_rule", "created", "pleiad_version"}) {
    if (file.has_attribute("/", name)) lines.push_back(fmt::format("{}: {}", name, file.text("/", name)));
  }
  if (file.exists("/sources/name")) {
    const auto names = file.read_texts("/sources/name"), sums = file.read_texts("/sources/sha256");
    const auto bytes = file.read<i64>("/sources/bytes");
    for (std::size_t i = 0; i < std::min({names.size(), sums.size(), bytes.size()}); ++i) {
      lines.push_back(fmt::format("source: {} ({} bytes, sha256 {})", names[i], bytes[i], sums[i]));
    }
  }
  if (file.exists("/options")) {
    std::string options = file.read_text("/options");
    while (options.ends_with('\n')) options.pop_back();
    std::replace(options.begin(), options.end(), '\n', ';');
    lines.push_back("options: " + options);
  }
  return lines;
}

}  // namespace pleiad::io
