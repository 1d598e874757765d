// SentencePiece alone would lose bytes: it turns U+2581 into a space and bytes that are not UTF-8 into U+FFFD. So such
// bytes go past it as byte pieces, and decoding is our own concatenation of pieces.
#include "pleiad/io/tokenizer.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"

#if defined(PLEIAD_HAVE_SENTENCEPIECE) && PLEIAD_HAVE_SENTENCEPIECE
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <unordered_map>
#define PLEIAD_WITH_SENTENCEPIECE 1
#else
#define PLEIAD_WITH_SENTENCEPIECE 0
#endif

namespace pleiad::io {

namespace {
constexpr std::string_view k_header = "pleiad-tokenizer/1 ";
}

#if PLEIAD_WITH_SENTENCEPIECE

namespace {

constexpr std::string_view k_space = "\xE2\x96\x81";         // U+2581, how SentencePiece writes a space
constexpr std::size_t k_longest_run = std::size_t{1} << 16;  // memory of one call grows with its length
constexpr std::size_t k_longest_line = 4000;                 // the trainer skips longer ones

/// Length of the UTF-8 character that starts the text; 0 if there is none (RFC 3629).
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return byte(i) >> 6 == 2; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first < 0xC2 || !tail(1)) return 0;
  if (first < 0xE0) return 2;
  if (!tail(2)) return 0;
  if (first < 0xF0) return (first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) ? 0 : 3;
  if (!tail(3) || first > 0xF4 || (first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90)) return 0;
  return 4;
}

/// Length of the longest start of the text that SentencePiece keeps; newline and NUL are ours.
std::size_t safe_length(std::string_view text, std::size_t limit) {
  std::size_t n = 0;
  while (n < text.size() && n < limit) {
    const std::string_view rest = text.substr(n);
    const std::size_t step = character_length(rest);
    if (step == 0 || rest[0] == '\n' || rest[0] == '\0' || rest.starts_with(k_space)) break;
    n += step;
  }
  return n;
}

/// Feeds the trainer lines of bounded length; of a long text only every n-th.
class Lines : public sentencepiece::SentenceIterator {
 public:
  Lines(std::string_view text, i64 limit) : text_(text), limit_(static_cast<std::size_t>(limit)) { Next(); }
  bool done() const override { return done_; }
  void Next() override {
    do {
      done_ = at_ >= text_.size();
      if (done_) return;
      const std::size_t n = safe_length(text_.substr(at_), k_longest_line);
      line_.assign(text_.substr(at_, n));
      at_ += std::max<std::size_t>(n, 1);
      seen_ = at_;
    } while (line_.empty() || !wanted());
    used_ += line_.size();
  }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  // Keeps what was used in proportion to what was seen.
  bool wanted() const {
    if (text_.size() <= limit_) return true;
    return static_cast<double>(used_) <=
           static_cast<double>(limit_) * static_cast<double>(seen_) / static_cast<double>(text_.size());
  }

  std::string_view text_;
  std::size_t limit_, at_ = 0, seen_ = 0, used_ = 0;
  std::string line_;
  bool done_ = false;
};

/// Their messages begin with source lines and conditions in brackets.
std::string last_sentence(const std::string& text) {
  const std::size_t cut = text.rfind("] ");
  return cut == std::string::npos ? text : text.substr(cut + 2);
}

}  // namespace

class Tokenizer::Model {
 public:
  explicit Model(std::string bytes) : bytes_(std::move(bytes)) {
    std::string problem;
    try {
      if (const auto status = processor_.LoadFromSerializedProto(bytes_); !status.ok()) problem = last_sentence(status.ToString());
    } catch (const std::exception& e) {  // of what the library is made of: a model with an empty piece, for example
      problem = e.what();
    }
    if (!problem.empty()) user_error("the SentencePiece model of {} bytes is damaged: {}", bytes_.size(), problem);
    newline_ = processor_.PieceToId("\n");
    for (int b = 0; b < 256; ++b) {
      byte_[b] = processor_.PieceToId(fmt::format("<0x{:02X}>", b));
      if (!processor_.IsByte(byte_[b]))
        user_error("the SentencePiece model has no byte fallback: train it with byte_fallback");
    }
    for (int id = 0; id < processor_.GetPieceSize(); ++id) texts_.push_back(text_of(id));
    for (int b = 0; b < 256; ++b) texts_[static_cast<std::size_t>(byte_[b])] = static_cast<char>(b);
  }

  const std::string& bytes() const { return bytes_; }
  i64 vocab() const { return static_cast<i64>(texts_.size()); }
  const std::string& text(std::size_t id) const { return texts_[id]; }

  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> out;
    std::vector<int> ids;
    while (!text.empty()) {
      const std::size_t n = safe_length(text, k_longest_run);
      if (n > 0) {
        const auto status = processor_.Encode(text.substr(0, n), &ids);
        PLEIAD_CHECK(status.ok(), "SentencePiece: {}", status.ToString());
        out.insert(out.end(), ids.begin(), ids.end());
        text.remove_prefix(n);
      } else if (text[0] == '\n' && !processor_.IsUnknown(newline_)) {
        out.push_back(newline_);
        text.remove_prefix(1);
      } else {
        const std::size_t step = std::max<std::size_t>(character_length(text), 1);
        for (const char c : text.substr(0, step)) out.push_back(byte_[static_cast<unsigned char>(c)]);
        text.remove_prefix(step);
      }
    }
    return out;
  }

 private:
  std::string text_of(int id) const {
    if (processor_.IsControl(id) || processor_.IsUnknown(id) || processor_.IsUnused(id)) return "";
    std::string text;
    for (std::string_view piece = processor_.IdToPiece(id); !piece.empty();) {
      const bool space = piece.starts_with(k_space);
      text.push_back(space ? ' ' : piece[0]);
      piece.remove_prefix(space ? k_space.size() : 1);
    }
    return text;
  }

  std::string bytes_;
  sentencepiece::SentencePieceProcessor processor_;
  std::vector<std::string> texts_;
  int byte_[256] = {};
  int newline_ = 0;
};

Tokenizer Tokenizer::train_sentencepiece(std::string_view text, const SentencePieceOptions& options) {
  if (options.model != "unigram" && options.model != "bpe") {
    user_error("SentencePiece model '{}' is unknown; allowed: unigram, bpe", options.model);
  }
  // 256 bytes, the unknown token and the newline are always there.
  if (options.vocab < 260 || options.vocab > 1000000) {
    user_error("vocabulary of {} for SentencePiece; allowed: 260 to 1000000 (256 of them are the bytes)",
               options.vocab);
  }
  const std::unordered_map<std::string, std::string> arguments = {
      {"vocab_size", std::to_string(options.vocab)},
      {"model_type", options.model},
      {"character_coverage", fmt::format("{}", options.character_coverage)},
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"user_defined_symbols", "\n"},
      {"unk_id", "0"},
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_id", "-1"},
      {"num_threads", "1"},
      {"minloglevel", "3"},
  };
  Lines lines(text, options.training_bytes);
  if (lines.done())
    user_error("a SentencePiece model cannot be trained: the text of {} bytes has no UTF-8 words", text.size());
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &lines, &model);
  if (!status.ok()) {
    user_error("a SentencePiece model with a vocabulary of {} cannot be trained on {} bytes of text: {}", options.vocab,
               text.size(), last_sentence(status.ToString()));
  }
  return from_model("sentencepiece", model);
}

#else

class Tokenizer::Model {
 public:
  explicit Model(const std::string&) {
    user_error(
        "this corpus or checkpoint uses SentencePiece, which this build does not have: install libsentencepiece-dev "
        "and "
        "build again, or use the tokenizer 'bytes'");
  }
  std::string bytes() const { return ""; }
  i64 vocab() const { return 0; }
  std::string text(std::size_t) const { return ""; }
  std::vector<std::int32_t> encode(std::string_view) const { return {}; }
};

Tokenizer Tokenizer::train_sentencepiece(std::string_view, const SentencePieceOptions&) {
  return from_model("sentencepiece", "");
}

#endif

bool Tokenizer::have_sentencepiece() {
  return PLEIAD_WITH_SENTENCEPIECE;
}

Tokenizer Tokenizer::from_model(const std::string& kind, const std::string& model) {
  Tokenizer t;
  if (kind == "sentencepiece")
    t.model_ = std::make_shared<Model>(model);
  else if (kind != "bytes")
    user_error("tokenizer '{}' is unknown; allowed: bytes, sentencepiece", kind);
  return t;
}

Tokenizer Tokenizer::from_serialised(const std::string& bytes) {
  const std::size_t end = bytes.find('\n');
  if (!bytes.starts_with(k_header) || end == std::string::npos) {
    user_error("the stored tokenizer ({} bytes) does not begin with '{}'", bytes.size(), k_header);
  }
  return from_model(bytes.substr(k_header.size(), end - k_header.size()), bytes.substr(end + 1));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  if (model_) return model_->encode(text);
  std::vector<std::int32_t> out(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) out[i] = static_cast<unsigned char>(text[i]);
  return out;
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t t : tokens) {
    if (t < 0 || t >= vocab()) continue;
    if (model_)
      text += model_->text(static_cast<std::size_t>(t));
    else
      text.push_back(static_cast<char>(t));
  }
  return text;
}

i64 Tokenizer::vocab() const {
  return model_ ? model_->vocab() : 256;
}

std::string Tokenizer::model() const {
  return model_ ? model_->bytes() : "";
}

std::string Tokenizer::serialise() const {
  return fmt::format("{}{}\n", k_header, kind()) + model();
}

std::string Tokenizer::fingerprint() const {
  return sha256(serialise()).substr(0, 16);
}

}  // namespace pleiad::io
