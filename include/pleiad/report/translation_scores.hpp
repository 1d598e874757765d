// How near translations are to references, as SacreBLEU counts it with its defaults (Post: A Call for Clarity in Reporting BLEU Scores, WMT 2018):
// BLEU (Papineni et al., ACL 2002) on tokens of its tokenizer "13a", and chrF (Popovic, WMT 2015) on letters. Pure functions of text.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::report {

/// One set of references: line i is one for line i of the translations.
using Lines = std::vector<std::string>;

struct Bleu {
  static constexpr int k_order = 4;
  double score = 0;                          ///< 0 to 100
  std::array<double, k_order> precisions{};  ///< of n-grams, n = 1 to 4, in percent; where none matches, smoothed: 50, 25, ... of one
  std::array<i64, k_order> matches{}, totals{};
  double brevity_penalty = 1;
  i64 translation_length = 0, reference_length = 0;  ///< tokens; of several references for each line the nearest in length
};

/// Of the whole corpus, case counts. errors: UserError without references, or where the numbers of lines differ.
Bleu bleu(std::span<const std::string> translations, std::span<const Lines> references);

/// F score of letter n-grams up to `order`, recall counting beta times as much as precision, spaces ignored, in percent; of several references for a
/// line the one with the best score. errors: as bleu().
double chrf(std::span<const std::string> translations, std::span<const Lines> references, int order = 6, double beta = 2);

/// The tokens that bleu() counts: punctuation stands alone, but for that inside numbers.
std::vector<std::string> tokens_13a(const std::string& line);

}  // namespace pleiad::report
