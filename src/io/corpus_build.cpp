// Making corpus files. Reading them: corpus.cpp.
#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/corpus.hpp"

#include <cmath>

namespace pleiad::io {

namespace {

constexpr i64 k_chunk = i64{1} << 16;
constexpr int k_deflate = 4;

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

void write_all(H5File& file, const CorpusContent& content) {
  write_making(file, k_corpus_format, content.tokenizer, content.sources, content.options);
  file.set_attribute("/", "origin", content.origin);
  file.set_attribute("/", "vocab", content.tokenizer.vocab());
  file.set_attribute("/", "window_alignment", content.window_alignment);
  file.set_attribute("/", "validation_fraction", content.validation_fraction);
  file.set_attribute("/", "split_rule", content.split_rule);
  file.set_attribute("/", "fingerprint", fingerprint_of(content));
  if (!content.domains.empty()) file.write_texts("/domains", content.domains, "names of the domains");
  write_part(file, "/train", content.train, content);
  write_part(file, "/validation", content.validation, content);
}

}  // namespace

void write_corpus(const CorpusContent& content, const std::string& out, bool force) {
  Unfinished unfinished(out, force);
  for (const CorpusContent::Part* part : {&content.train, &content.validation}) {
    const std::size_t domains = content.domains.empty() ? 0 : part->tokens.size();
    const std::size_t entropies = content.train.entropy.empty() ? 0 : part->tokens.size();
    PLEIAD_CHECK(part->domain.size() == domains, "{} domains for {} tokens", part->domain.size(), part->tokens.size());
    PLEIAD_CHECK(part->entropy.size() == entropies, "{} entropies for {} tokens", part->entropy.size(),
                 part->tokens.size());
  }
  H5File file = H5File::create(unfinished.path());
  file.seal();
  write_all(file, content);
  file.close();
  unfinished.publish();
}

void build_corpus(const CorpusOptions& options) {
  if (options.files.empty()) user_error("no text file was named to build a corpus from");
  if (!(options.validation_fraction >= 0 && options.validation_fraction <= 0.9)) {
    user_error("validation fraction is {}; allowed: 0 to 0.9", options.validation_fraction);
  }
  options.tokenizer.check();
  const Unfinished trial(options.out, options.force);  // before long work

  CorpusContent content;
  std::string text;
  for (const std::string& path : options.files) {
    text += read_text_file(path, options.out, content.sources);
  }
  if (text.empty()) user_error("the corpus is empty: no text in {}", fmt::join(options.files, ", "));

  // floor(), with a hair's breadth against products like 9.999999999.
  const auto cut =
      static_cast<std::size_t>(static_cast<double>(text.size()) * (1 - options.validation_fraction) + 1e-6);
  const std::string_view train = std::string_view(text).substr(0, cut), validation = std::string_view(text).substr(cut);
  if (train.empty()) user_error("the corpus is empty: {} bytes leave nothing to train on", text.size());
  content.tokenizer = options.tokenizer.make([&] { return std::string(train); });
  content.train = {.tokens = content.tokenizer.encode(train), .bytes = static_cast<i64>(train.size())};
  content.validation = {.tokens = content.tokenizer.encode(validation), .bytes = static_cast<i64>(validation.size())};
  content.origin = "text";
  content.validation_fraction = options.validation_fraction;
  content.split_rule =
      fmt::format("validation is the last {} of {} bytes of the files in order", validation.size(), text.size());
  content.options = fmt::format("{}validation_fraction = {}\n", options.tokenizer.words(), options.validation_fraction);
  write_corpus(content, options.out, options.force);
}

}  // namespace pleiad::io
