// A synthetic corpus with known truth. Documents of fixed length, each from one latent domain (nothing in the text says
// which); every domain is a unifilar source: its state is a function of the symbols so far. So the mixture over domains
// can be followed exactly, and with every token its true conditional entropy is stored: the least loss, in nats, that
// any model can reach.
//   p(x_t | x_<t) = sum_k q_k p_k(x_t | state_k),  q_k = P(domain k | x_<t) by Bayes' rule,  H_t = -sum_x p log p.
#pragma once
#include "pleiad/io/corpus.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pleiad::io {

/// The symbols of all domains, as text; a symbol's number is its place here.
inline constexpr std::string_view k_synth_alphabet = "abcdefghijklmnopqrstuvwxyz \n0123456789+=;|()[]{}<>";
inline constexpr int k_synth_symbols = static_cast<int>(k_synth_alphabet.size());
/// Number of a character of the alphabet.
int synth_symbol(char c);

/// One domain while a document is being read.
class SynthSource {
 public:
  virtual ~SynthSource() = default;
  /// Back to the start of a document.
  virtual void reset() = 0;
  /// Probability of every symbol to come next [k_synth_symbols]; they sum to 1.
  virtual void probabilities(double* p) const = 0;
  /// pre: the symbol's probability is not zero.
  virtual void advance(int symbol) = 0;
};

/// Names of all domains: easy, medium, hard (random Markov languages of 0.5, 1.2 and 2.0 nats per symbol over
/// overlapping letters), copy (random letters, |, the same letters again), arithmetic (a+b=c;) and brackets (words of
/// four kinds).
const std::vector<std::string>& synth_domain_names();
/// A domain's tables depend on the seed and its name only. UserError for an unknown name.
std::unique_ptr<SynthSource> make_synth_source(const std::string& name, std::uint64_t seed);

/// Follows a document under all domains at once.
class SynthMixture {
 public:
  /// Equal prior probabilities.
  SynthMixture(const std::vector<std::string>& domains, std::uint64_t seed);
  void reset();
  /// p(x_t | x_<t) [k_synth_symbols].
  const std::vector<double>& prediction() const { return mixture_; }
  /// The same under one domain; zeros once the document excludes the domain.
  const double* prediction_of(std::size_t domain) const { return own_.data() + domain * k_synth_symbols; }
  /// P(domain | x_<t).
  const std::vector<double>& posterior() const { return posterior_; }
  /// Nats of prediction().
  double entropy() const;
  /// pre: prediction()[symbol] > 0.
  void advance(int symbol);

 private:
  void predict();

  std::vector<std::unique_ptr<SynthSource>> sources_;
  std::vector<double> posterior_, own_, mixture_;
};

struct SynthOptions {
  i64 tokens = 2'000'000;  ///< rounded down to whole documents
  i64 document_length = 128;
  std::vector<std::string> domains = synth_domain_names();
  std::uint64_t seed = 1;
  double validation_fraction = 0.1;  ///< of the documents, from the end; 0 to 0.9
  bool force = false;
};

/// The corpus in memory. UserError for options out of range.
CorpusContent make_synth_corpus(const SynthOptions& options);
/// Writes it: vocabulary of 256 bytes, window_alignment = document length. One rank only.
void synth_corpus(const SynthOptions& options, const std::string& out);

}  // namespace pleiad::io
