// Masked tokens, after Devlin et al. 2019 (BERT), section 3.1: a share of all positions is to be guessed; of these 80 % hold the mask token, 10 % a random
// token and 10 % what they held, so that a model cannot tell which of the tokens it sees are right. Each position is chosen by itself, a function of
// its number alone, on any number of ranks.
#pragma once
#include <cstdint>
#include <span>

#include "pleiad/core/random.hpp"
#include "pleiad/io/tokenizer.hpp"

namespace pleiad::io {

/// The mask token, after those of the tokenizer.
inline std::int32_t mask_token(const Tokenizer& t) { return static_cast<std::int32_t>(t.vocab()); }

class TokenMasking {
 public:
  /// `share` of the positions, above 0 to 1.
  TokenMasking(const Tokenizer& tokenizer, double share, std::uint64_t seed) : mask_(mask_token(tokenizer)), share_(share), seed_(seed) {}

  /// Of training step `step`: `tokens`, whose first one is global token `first` of the batch, as the model is to see them; `target` is what a chosen
  /// position held, -1 elsewhere.
  void training(i64 step, i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const;
  /// The same for the tokens from `first` on of a part of a corpus: one choice for all steps and seeds, so that losses can be compared.
  void evaluation(i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const;

 private:
  /// Which positions, what becomes of them, and the random tokens: draws of their own.
  struct Draws {
    Stream choice, fate, token;
  };
  void mask(const Draws& draws, i64 first, std::span<std::int32_t> tokens, std::span<std::int32_t> target) const;

  std::int32_t mask_;
  double share_;
  std::uint64_t seed_;
};

}  // namespace pleiad::io
