// Reading corpus files and the arithmetic of batches. Making them: corpus_build.cpp.
#include "pleiad/io/corpus.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

#include <algorithm>
#include <cmath>

namespace pleiad::io {

namespace {

constexpr i64 k_vocab_limit = i64{1} << 31;

template <class T, class Out>
void copy_window(const std::vector<T>& values, i64 first, std::span<Out> out) {
  PLEIAD_CHECK(first >= 0 && first + static_cast<i64>(out.size()) <= static_cast<i64>(values.size()),
               "window {} + {} of {}", first, out.size(), values.size());
  std::copy_n(values.begin() + first, out.size(), out.begin());
}

}  // namespace

const char* split_name(Split split) {
  return split == Split::train ? "train" : split == Split::validation ? "validation" : "test";
}

// ---- batches ----

CorpusBatches::CorpusBatches(i64 train_tokens, i64 validation_tokens, i64 alignment, i64 seq_len, std::uint64_t seed)
    : train_tokens_(train_tokens),
      validation_tokens_(validation_tokens),
      alignment_(alignment),
      seq_len_(seq_len),
      seed_(seed) {
  PLEIAD_CHECK(alignment > 0 && seq_len > 0, "windows of {} tokens at multiples of {}", seq_len, alignment);
  for (const Split split : {Split::train, Split::validation}) {
    if (split == Split::validation && validation_tokens == 0) continue;
    if (tokens(split) < seq_len + 1) {
      user_error("the {} part of the corpus has {} tokens; windows of model.seq_len = {} inputs and one target need at least {}",
                 split_name(split), tokens(split), seq_len, seq_len + 1);
    }
  }
  train_windows_ = (train_tokens - (seq_len + 1)) / alignment + 1;
}

i64 CorpusBatches::train_start(i64 step, i64 sequence) const {
  const Stream stream(seed_, Purpose::batch, 0, static_cast<std::uint64_t>(step));
  return alignment_ * static_cast<i64>(stream.below(static_cast<std::uint64_t>(sequence),
                                                    static_cast<std::uint64_t>(train_windows_)));
}

i64 CorpusBatches::eval_dropped(Split split) const {
  return tokens(split) > 0 ? tokens(split) - 1 - eval_windows(split) * seq_len_ : 0;
}

// ---- reading ----

Corpus::Part Corpus::read_part(const H5File& file, Split split, i64 vocab, i64 domains, bool entropy) {
  const std::string group = fmt::format("/{}", split_name(split)), name = group + "/tokens";
  const auto damaged = [&](const std::string& what) {
    user_error("corpus '{}' is damaged: {} in {}", file.path(), what, group);
  };
  Part part;
  const Shape shape = file.shape(name);
  if (shape.size() != 1) damaged("tokens without one extent");
  part.count = shape[0];
  part.bytes = file.integer(group, "bytes");
  if (file.type_name(name) == "uint16")
    part.tokens = file.read<std::uint16_t>(name);
  else
    part.tokens = file.read<std::int32_t>(name);
  std::visit(
      [&](const auto& tokens) {
        for (const auto t : tokens) {
          if (t < 0 || t >= vocab) damaged(fmt::format("token {} with a vocabulary of {}", t, vocab));
        }
      },
      part.tokens);
  if (domains > 0) {
    part.domain = file.read<std::uint8_t>(group + "/domain", shape);
    for (const auto d : part.domain) {
      if (d >= domains) damaged(fmt::format("domain {} of {}", d, domains));
    }
  }
  if (entropy) {
    part.entropy = file.read<float>(group + "/entropy", shape);
    for (const float h : part.entropy) {
      if (!(h >= 0) || !std::isfinite(h)) damaged(fmt::format("an entropy of {} nats", h));
    }
  }
  return part;
}

Corpus Corpus::load(const std::string& path) {
  const H5File file = H5File::open(path);
  file.require_format(k_corpus_format);
  Corpus c;
  c.path_ = path;
  c.vocab_ = file.integer("/", "vocab");
  c.window_alignment_ = file.integer("/", "window_alignment");
  c.fingerprint_ = file.text("/", "fingerprint");
  if (c.vocab_ < 1 || c.vocab_ > k_vocab_limit)
    user_error("corpus '{}' is damaged: a vocabulary of {}", path, c.vocab_);
  if (c.window_alignment_ < 1)
    user_error("corpus '{}' is damaged: a window alignment of {}", path, c.window_alignment_);
  c.tokenizer_ = read_tokenizer(file);
  if (c.tokenizer_.vocab() != c.vocab_) {
    user_error("corpus '{}' is damaged: a vocabulary of {}, but its tokenizer has {}", path, c.vocab_,
               c.tokenizer_.vocab());
  }
  if (file.exists("/domains")) c.domain_names_ = file.read_texts("/domains");
  c.has_entropy_ = file.exists("/train/entropy");
  const auto domains = static_cast<i64>(c.domain_names_.size());
  c.train_ = read_part(file, Split::train, c.vocab_, domains, c.has_entropy_);
  c.validation_ = read_part(file, Split::validation, c.vocab_, domains, c.has_entropy_);
  if (c.train_.count == 0) user_error("the corpus '{}' is empty: it has no training tokens", path);
  c.provenance_ = provenance(file);
  verify_content(file);
  return c;
}

Corpus Corpus::open(const comm::Communicator& comm, const std::string& path) {
  return load_on_all<Corpus>(comm, path, fmt::format("corpus '{}'", path));
}

void Corpus::require_vocab(i64 model_vocab) const {
  if (model_vocab == vocab_) return;
  user_error("corpus '{}' has a vocabulary of {} (tokenizer {}) and the model one of {}; they must be equal", path_,
             vocab_, tokenizer_.kind(), model_vocab);
}

CorpusBatches Corpus::batches(i64 seq_len, std::uint64_t seed) const {
  return {tokens(Split::train), tokens(Split::validation), window_alignment_, seq_len, seed};
}

void Corpus::read_window(Split split, i64 first, std::span<std::int32_t> out) const {
  std::visit([&](const auto& tokens) { copy_window(tokens, first, out); }, part(split).tokens);
}

void Corpus::read_domains(Split split, i64 first, std::span<std::int32_t> out) const {
  copy_window(part(split).domain, first, out);
}

void Corpus::read_entropy(Split split, i64 first, std::span<float> out) const {
  copy_window(part(split).entropy, first, out);
}

double Corpus::mean_entropy(Split split, i64 domain) const {
  const Part& p = part(split);
  double sum = 0;
  i64 count = 0;
  for (std::size_t i = 0; i < p.entropy.size(); ++i) {
    if (domain >= 0 && p.domain[i] != domain) continue;
    sum += static_cast<double>(p.entropy[i]);
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

std::vector<std::string> Corpus::describe() const {
  std::vector<std::string> lines = {
      fmt::format("corpus {} ({})", path_, k_corpus_format),
      fmt::format("tokenizer: {}, vocabulary {}, fingerprint {}", tokenizer_.kind(), vocab_, tokenizer_.fingerprint()),
      fmt::format("content: fingerprint {}, windows start at multiples of {}", fingerprint_, window_alignment_)};
  for (const Split split : {Split::train, Split::validation}) {
    const Part& p = part(split);
    std::string line = fmt::format("{}: {} tokens, {} bytes", split_name(split), p.count, p.bytes);
    if (p.count > 0)
      line += fmt::format(" ({:.2f} bytes per token)", static_cast<double>(p.bytes) / static_cast<double>(p.count));
    if (!p.entropy.empty()) line += fmt::format(", true entropy {:.4f} nats per token", mean_entropy(split));
    lines.push_back(line);
  }
  for (std::size_t d = 0; d < domain_names_.size(); ++d) {
    const auto count = std::count(train_.domain.begin(), train_.domain.end(), static_cast<std::uint8_t>(d));
    std::string line = fmt::format("domain {} ({}): {:.1f} % of the training tokens", d, domain_names_[d],
                                   100.0 * static_cast<double>(count) / static_cast<double>(train_.count));
    if (has_entropy_)
      line += fmt::format(", true entropy {:.4f} nats per token", mean_entropy(Split::train, static_cast<i64>(d)));
    lines.push_back(line);
  }
  lines.insert(lines.end(), provenance_.begin(), provenance_.end());
  return lines;
}

}  // namespace pleiad::io
