// Text to token numbers and back, without loss for any bytes. Two kinds: `bytes` (256 tokens), and `sentencepiece`
// (optional dependency), whose byte fallback covers what its pieces do not. A value type: copies share the immutable
// model.
#pragma once
#include "pleiad/core/real.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pleiad::io {

/// How a SentencePiece model is trained.
struct SentencePieceOptions {
  i64 vocab = 4096;
  std::string model = "unigram";       ///< unigram or bpe
  i64 training_bytes = i64{32} << 20;  ///< of a longer text, lines evenly spread over it are used
  double character_coverage = 0.9995;  ///< rarer characters are spelt in bytes
};

class Tokenizer {
 public:
  /// The `bytes` kind.
  Tokenizer() = default;
  /// Deterministic, on one thread, prints nothing. UserError if the text is too small for the vocabulary or the other
  /// way round, or if this build has no SentencePiece.
  static Tokenizer train_sentencepiece(std::string_view text, const SentencePieceOptions& options);
  /// From kind() and model(), or from serialise(). UserError if damaged.
  static Tokenizer from_model(const std::string& kind, const std::string& model);
  static Tokenizer from_serialised(const std::string& bytes);
  /// Whether this build can use the kind `sentencepiece`.
  static bool have_sentencepiece();

  std::vector<std::int32_t> encode(std::string_view text) const;
  /// Numbers outside the vocabulary are skipped. decode(encode(text)) == text.
  std::string decode(std::span<const std::int32_t> tokens) const;

  i64 vocab() const;
  std::string kind() const { return model_ ? "sentencepiece" : "bytes"; }
  /// The SentencePiece model file; empty for `bytes`.
  std::string model() const;
  std::string serialise() const;
  /// 16 hexadecimal digits that stand for kind and model.
  std::string fingerprint() const;

 private:
  class Model;
  std::shared_ptr<const Model> model_;  // none: bytes
};

}  // namespace pleiad::io
