#include "pleiad/report/translation_scores.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <regex>
#include <sstream>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::report {

namespace {

/// N-grams and how often each is there.
template <class Item>
using Counts = std::map<std::vector<Item>, i64>;

template <class Item>
Counts<Item> ngrams(const std::vector<Item>& items, std::size_t n) {
  Counts<Item> counts;
  for (std::size_t at = 0; at + n <= items.size(); ++at) ++counts[{items.begin() + static_cast<std::ptrdiff_t>(at), items.begin() + static_cast<std::ptrdiff_t>(at + n)}];
  return counts;
}

/// Of those on the left, how many there are on the right too.
template <class Item>
i64 common(const Counts<Item>& left, const Counts<Item>& right) {
  i64 sum = 0;
  for (const auto& [gram, count] : left) {
    if (const auto found = right.find(gram); found != right.end()) sum += std::min(count, found->second);
  }
  return sum;
}

i64 grams_in(std::size_t items, int n) { return std::max<i64>(0, static_cast<i64>(items) - n + 1); }

void require_lines(std::span<const std::string> translations, std::span<const Lines> references) {
  if (references.empty()) user_error("there are no references to compare with");
  for (const Lines& r : references) {
    if (r.size() != translations.size()) user_error("{} lines of translations, but {} of references: line i of one belongs to line i of the other", translations.size(), r.size());
  }
}

/// UTF-8 without white space, a string for each letter; bytes that are no UTF-8 are letters of their own.
std::vector<std::string> letters(const std::string& line) {
  std::vector<std::string> all;
  for (std::size_t at = 0; at < line.size();) {
    const auto byte = static_cast<unsigned char>(line[at]);
    std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    for (std::size_t i = 1; i < length; ++i) {
      if (at + i >= line.size() || (static_cast<unsigned char>(line[at + i]) & 0xC0) != 0x80) length = 1;
    }
    const std::string letter = line.substr(at, length);
    // Spaces of Latin text beyond ASCII: no-break, narrow no-break, thin, ideographic.
    const bool space = letter == " " || (letter.size() == 1 && std::isspace(byte)) || letter == "\u00a0" || letter == "\u202f" || letter == "\u2009" || letter == "\u3000";
    if (!space) all.push_back(letter);
    at += length;
  }
  return all;
}

struct ChrfCounts {
  std::vector<i64> translation, reference, match;  // for each n

  explicit ChrfCounts(int order) : translation(static_cast<std::size_t>(order)), reference(translation), match(translation) {}
  void add(const ChrfCounts& other) {
    for (std::size_t n = 0; n < match.size(); ++n) {
      translation[n] += other.translation[n];
      reference[n] += other.reference[n];
      match[n] += other.match[n];
    }
  }
  /// Means of precision and recall over the lengths that both sides have, then F.
  double score(double beta) const {
    double precision = 0, recall = 0;
    i64 lengths = 0;
    for (std::size_t n = 0; n < match.size(); ++n) {
      if (translation[n] == 0 || reference[n] == 0) continue;
      precision += static_cast<double>(match[n]) / static_cast<double>(translation[n]);
      recall += static_cast<double>(match[n]) / static_cast<double>(reference[n]);
      ++lengths;
    }
    if (lengths == 0 || precision + recall == 0) return 0;
    precision /= static_cast<double>(lengths);
    recall /= static_cast<double>(lengths);
    return 100 * (1 + beta * beta) * precision * recall / (beta * beta * precision + recall);
  }
};

ChrfCounts chrf_counts(const std::vector<std::string>& translation, const std::vector<std::string>& reference, int order) {
  ChrfCounts c(order);
  for (int n = 1; n <= order; ++n) {
    const std::size_t at = static_cast<std::size_t>(n - 1), length = static_cast<std::size_t>(n);
    c.translation[at] = grams_in(translation.size(), n);
    c.reference[at] = grams_in(reference.size(), n);
    c.match[at] = common(ngrams(translation, length), ngrams(reference, length));
  }
  return c;
}

}  // namespace

// The rules are those of the NIST script mteval-v13a, as SacreBLEU applies them.
std::vector<std::string> tokens_13a(const std::string& line) {
  std::string text = line;
  replace_all(text, "<skipped>", "");
  for (const auto& [name, sign] : {std::pair{"&quot;", "\""}, {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}}) replace_all(text, name, sign);
  static const std::vector<std::pair<std::regex, std::string>> rules = {
      {std::regex(R"(([\{-~\[-` -&\(-\+:-@/]))"), " $1 "},  // signs but ' , - .
      {std::regex(R"(([^0-9])([\.,]))"), "$1 $2 "},           // full stop and comma, unless a digit is before
      {std::regex(R"(([\.,])([^0-9]))"), " $1 $2"},           // or behind
      {std::regex(R"(([0-9])(-))"), "$1 $2 "},                // a dash behind a digit
  };
  text = " " + text + " ";
  for (const auto& [pattern, by] : rules) text = std::regex_replace(text, pattern, by);
  std::istringstream in(text);
  std::vector<std::string> tokens;
  for (std::string token; in >> token;) tokens.push_back(token);
  return tokens;
}

Bleu bleu(std::span<const std::string> translations, std::span<const Lines> references) {
  require_lines(translations, references);
  Bleu b;
  for (std::size_t line = 0; line < translations.size(); ++line) {
    const std::vector<std::string> mine = tokens_13a(translations[line]);
    std::vector<std::vector<std::string>> theirs;
    for (const Lines& r : references) theirs.push_back(tokens_13a(r[line]));
    const auto off = [&](const auto& r) { return std::pair(std::abs(static_cast<i64>(r.size()) - static_cast<i64>(mine.size())), r.size()); };
    b.translation_length += static_cast<i64>(mine.size());
    b.reference_length += static_cast<i64>(std::ranges::min(theirs, {}, off).size());
    for (int n = 1; n <= Bleu::k_order; ++n) {
      Counts<std::string> most;  // in one reference
      for (const auto& r : theirs) {
        for (const auto& [gram, count] : ngrams(r, static_cast<std::size_t>(n))) most[gram] = std::max(most[gram], count);
      }
      b.totals[n - 1] += grams_in(mine.size(), n);
      b.matches[n - 1] += common(ngrams(mine, static_cast<std::size_t>(n)), most);
    }
  }
  if (b.translation_length < b.reference_length) {
    b.brevity_penalty = b.translation_length > 0 ? std::exp(1 - static_cast<double>(b.reference_length) / static_cast<double>(b.translation_length)) : 0;
  }
  if (b.matches[0] == 0 || b.totals.back() == 0) return b;  // a mean of logarithms with a zero among them
  double logarithms = 0, smooth = 1;
  for (int n = 0; n < Bleu::k_order; ++n) {
    if (b.matches[n] == 0) smooth *= 2;
    b.precisions[n] = 100.0 * (b.matches[n] == 0 ? 1 / smooth : static_cast<double>(b.matches[n])) / static_cast<double>(b.totals[n]);
    logarithms += std::log(b.precisions[n]) / Bleu::k_order;
  }
  b.score = b.brevity_penalty * std::exp(logarithms);
  return b;
}

double chrf(std::span<const std::string> translations, std::span<const Lines> references, int order, double beta) {
  require_lines(translations, references);
  ChrfCounts all(order);
  for (std::size_t line = 0; line < translations.size(); ++line) {
    const std::vector<std::string> mine = letters(translations[line]);
    std::optional<ChrfCounts> best;
    for (const Lines& r : references) {
      ChrfCounts c = chrf_counts(mine, letters(r[line]), order);
      if (!best || c.score(beta) > best->score(beta)) best = std::move(c);
    }
    all.add(*best);
  }
  return all.score(beta);
}

}  // namespace pleiad::report
