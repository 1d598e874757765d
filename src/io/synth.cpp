#include "pleiad/io/synth.hpp"

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace pleiad::io {

namespace {

constexpr int V = k_synth_symbols;

// ---- easy, medium, hard: Markov languages ----

/// Symbols of one language, how many past ones matter, and the entropy of every row of its table.
struct LanguageOptions {
  char first, last;  // its letters; the space belongs to all
  int order;
  double nats;
};

class Language : public SynthSource {
 public:
  Language(const std::string& name, const LanguageOptions& options, std::uint64_t seed) {
    for (char c = options.first; c <= options.last; ++c) symbols_.push_back(synth_symbol(c));
    symbols_.push_back(synth_symbol(' '));
    n_ = symbols_.size();
    place_.fill(-1);
    for (std::size_t i = 0; i < n_; ++i) place_[static_cast<std::size_t>(symbols_[i])] = static_cast<int>(i);
    contexts_ = options.order == 1 ? n_ : n_ * n_;
    table_.resize(contexts_ * n_);
    const Stream stream = Stream::named(seed, Purpose::corpus, name);
    for (std::size_t c = 0; c < contexts_; ++c) fill_row(stream, c, options.nats);
    reset();
  }

  void reset() override { context_ = contexts_ - 1; }  // as if after spaces

  void probabilities(double* p) const override {
    std::fill_n(p, V, 0.0);
    for (std::size_t i = 0; i < n_; ++i) p[symbols_[i]] = table_[context_ * n_ + i];
  }

  void advance(int symbol) override {
    const auto place = static_cast<std::size_t>(place_[static_cast<std::size_t>(symbol)]);
    context_ = (context_ * n_ + place) % contexts_;
  }

 private:
  // softmax(b z) with normal z, and b such that the row's entropy is as wanted (it falls from log n to 0 as b grows).
  void fill_row(const Stream& stream, std::size_t context, double nats) {
    std::vector<double> z(n_);
    for (std::size_t i = 0; i < n_; ++i) z[i] = stream.normal(context * n_ + i);
    double* row = table_.data() + context * n_;
    const double top = *std::max_element(z.begin(), z.end());
    double low = 0, high = 1000;
    for (int step = 0; step < 100; ++step) {
      const double b = 0.5 * (low + high);
      double sum = 0, entropy = 0;
      for (std::size_t i = 0; i < n_; ++i) sum += row[i] = std::exp(b * (z[i] - top));
      for (std::size_t i = 0; i < n_; ++i) {
        row[i] /= sum;
        if (row[i] > 0) entropy -= row[i] * std::log(row[i]);
      }
      (entropy > nats ? low : high) = b;
    }
  }

  std::vector<int> symbols_;
  std::array<int, V> place_ = {};
  std::size_t n_ = 0, contexts_ = 0, context_ = 0;
  std::vector<double> table_;
};

// ---- copy: letters of random number, |, the same letters, newline ----

class Copy : public SynthSource {
 public:
  static constexpr std::size_t k_least = 3, k_most = 20;
  static constexpr double k_end = 0.12;

  void reset() override {
    word_.clear();
    copied_ = 0;
    copying_ = false;
  }

  void probabilities(double* p) const override {
    std::fill_n(p, V, 0.0);
    if (copying_) {
      p[copied_ < word_.size() ? word_[copied_] : synth_symbol('\n')] = 1;
      return;
    }
    const double end = word_.size() < k_least ? 0 : word_.size() == k_most ? 1 : k_end;
    p[synth_symbol('|')] = end;
    for (char c = 'a'; c <= 'z'; ++c) p[synth_symbol(c)] = (1 - end) / 26;
  }

  void advance(int symbol) override {
    if (symbol == synth_symbol('\n'))
      reset();
    else if (symbol == synth_symbol('|'))
      copying_ = true;
    else if (copying_)
      ++copied_;
    else
      word_.push_back(symbol);
  }

 private:
  std::vector<int> word_;
  std::size_t copied_ = 0;
  bool copying_ = false;
};

// ---- arithmetic: a+b=c; with a and b of one or two digits, no leading zero ----

class Arithmetic : public SynthSource {
 public:
  void reset() override {
    sum_ = number_ = 0;
    digits_ = 0;
    second_ = false;
    result_.clear();
  }

  void probabilities(double* p) const override {
    std::fill_n(p, V, 0.0);
    if (!result_.empty()) {
      p[synth_symbol(result_.back())] = 1;
      return;
    }
    const double end = digits_ == 0 ? 0 : digits_ == 1 ? 0.5 : 1;
    p[synth_symbol(second_ ? '=' : '+')] = end;
    for (char c = '0'; c <= '9'; ++c) p[synth_symbol(c)] = digits_ == 0 ? (c == '0' ? 0 : 1.0 / 9) : (1 - end) / 10;
  }

  void advance(int symbol) override {
    if (!result_.empty()) {
      result_.pop_back();
      if (result_.empty()) reset();
      return;
    }
    const char c = k_synth_alphabet[static_cast<std::size_t>(symbol)];
    if (c >= '0' && c <= '9') {
      number_ = 10 * number_ + (c - '0');
      ++digits_;
      return;
    }
    sum_ += number_;
    number_ = digits_ = 0;
    if (c == '+') {
      second_ = true;
    } else {
      result_ = std::to_string(sum_) + ";";
      std::reverse(result_.begin(), result_.end());
    }
  }

 private:
  int sum_ = 0, number_ = 0, digits_ = 0;
  bool second_ = false;
  std::string result_;  // what must still come, last character first
};

// ---- brackets: words of balanced brackets, newline ----

class Brackets : public SynthSource {
 public:
  static constexpr std::string_view k_open = "([{<", k_close = ")]}>";
  static constexpr std::size_t k_depth = 8;

  void reset() override {
    open_.clear();
    begun_ = false;
  }

  void probabilities(double* p) const override {
    std::fill_n(p, V, 0.0);
    double open = 1;
    if (!open_.empty()) {
      open = open_.size() == k_depth ? 0 : 0.5;
      p[synth_symbol(k_close[open_.back()])] = 1 - open;
    } else if (begun_) {
      open = 0.6;
      p[synth_symbol('\n')] = 1 - open;
    }
    for (const char c : k_open) p[synth_symbol(c)] = open / 4;
  }

  void advance(int symbol) override {
    const char c = k_synth_alphabet[static_cast<std::size_t>(symbol)];
    begun_ = c != '\n';
    if (const std::size_t kind = k_open.find(c); kind != std::string_view::npos)
      open_.push_back(kind);
    else if (begun_)
      open_.pop_back();
  }

 private:
  std::vector<std::size_t> open_;
  bool begun_ = false;
};

constexpr std::array<signed char, 128> symbol_table() {
  std::array<signed char, 128> table = {};
  table.fill(-1);
  for (std::size_t i = 0; i < k_synth_alphabet.size(); ++i) {
    table[static_cast<std::size_t>(k_synth_alphabet[i])] = static_cast<signed char>(i);
  }
  return table;
}
constexpr auto k_symbol = symbol_table();

void check_options(const SynthOptions& o) {
  if (o.document_length < 2 || o.document_length > 1'000'000) {
    user_error("document length is {} tokens; allowed: 2 to 1000000", o.document_length);
  }
  if (o.tokens < o.document_length || o.tokens > 2'000'000'000) {
    user_error("corpus of {} tokens; allowed: one document ({}) to 2000000000", o.tokens, o.document_length);
  }
  if (!(o.validation_fraction >= 0 && o.validation_fraction <= 0.9)) {
    user_error("validation fraction is {}; allowed: 0 to 0.9", o.validation_fraction);
  }
  if (o.domains.empty()) user_error("no domain was named; allowed: {}", fmt::join(synth_domain_names(), ", "));
  for (std::size_t i = 0; i < o.domains.size(); ++i) {
    if (std::count(o.domains.begin(), o.domains.end(), o.domains[i]) > 1)
      user_error("domain '{}' is named twice", o.domains[i]);
  }
}

}  // namespace

int synth_symbol(char c) {
  return k_symbol[static_cast<std::size_t>(c & 127)];
}

const std::vector<std::string>& synth_domain_names() {
  static const std::vector<std::string> names = {"easy", "medium", "hard", "copy", "arithmetic", "brackets"};
  return names;
}

std::unique_ptr<SynthSource> make_synth_source(const std::string& name, std::uint64_t seed) {
  if (name == "easy") return std::make_unique<Language>(name, LanguageOptions{'a', 'p', 2, 0.5}, seed);
  if (name == "medium") return std::make_unique<Language>(name, LanguageOptions{'f', 'u', 1, 1.2}, seed);
  if (name == "hard") return std::make_unique<Language>(name, LanguageOptions{'k', 'z', 2, 2.0}, seed);
  if (name == "copy") return std::make_unique<Copy>();
  if (name == "arithmetic") return std::make_unique<Arithmetic>();
  if (name == "brackets") return std::make_unique<Brackets>();
  user_error("domain '{}' is unknown; allowed: {}", name, fmt::join(synth_domain_names(), ", "));
}

SynthMixture::SynthMixture(const std::vector<std::string>& domains, std::uint64_t seed)
    : posterior_(domains.size()), own_(domains.size() * k_synth_symbols), mixture_(k_synth_symbols) {
  for (const std::string& name : domains) sources_.push_back(make_synth_source(name, seed));
  reset();
}

void SynthMixture::reset() {
  for (auto& source : sources_) source->reset();
  std::fill(posterior_.begin(), posterior_.end(), 1.0 / static_cast<double>(sources_.size()));
  predict();
}

void SynthMixture::predict() {
  std::fill(mixture_.begin(), mixture_.end(), 0.0);
  for (std::size_t k = 0; k < sources_.size(); ++k) {
    double* p = own_.data() + k * V;
    if (posterior_[k] == 0) {
      std::fill_n(p, V, 0.0);
      continue;
    }
    sources_[k]->probabilities(p);
    for (std::size_t x = 0; x < V; ++x) mixture_[x] += posterior_[k] * p[x];
  }
}

double SynthMixture::entropy() const {
  double nats = 0;
  for (const double p : mixture_) {
    if (p > 0) nats -= p * std::log(p);
  }
  return std::max(nats, 0.0);
}

void SynthMixture::advance(int symbol) {
  const double p = mixture_[static_cast<std::size_t>(symbol)];
  PLEIAD_CHECK(p > 0, "symbol {} is impossible here", symbol);
  for (std::size_t k = 0; k < sources_.size(); ++k) {
    if (posterior_[k] == 0) continue;
    posterior_[k] *= own_[k * V + static_cast<std::size_t>(symbol)] / p;
    if (posterior_[k] > 0) sources_[k]->advance(symbol);
  }
  predict();
}

CorpusContent make_synth_corpus(const SynthOptions& options) {
  check_options(options);
  const i64 documents = options.tokens / options.document_length;
  const auto training = static_cast<i64>(static_cast<double>(documents) * (1 - options.validation_fraction) + 1e-6);
  if (training == 0) user_error("the corpus is empty: {} documents leave nothing to train on", documents);

  SynthMixture mixture(options.domains, options.seed);
  const Stream choose(options.seed, Purpose::corpus, 0, 0), draw(options.seed, Purpose::corpus, 0, 1);
  CorpusContent content;
  for (i64 d = 0; d < documents; ++d) {
    CorpusContent::Part& part = d < training ? content.train : content.validation;
    const auto domain = static_cast<std::size_t>(choose.below(static_cast<std::uint64_t>(d), options.domains.size()));
    mixture.reset();
    for (i64 i = 0; i < options.document_length; ++i) {
      const double* p = mixture.prediction_of(domain);
      double left = draw.uniform(static_cast<std::uint64_t>(d * options.document_length + i));
      int symbol = -1;
      // Rounding may leave a crumb after the last symbol: then it is the last possible one.
      for (int x = 0; x < V && (symbol < 0 || left >= 0); ++x) {
        if (p[x] == 0) continue;
        symbol = x;
        left -= p[x];
      }
      part.tokens.push_back(k_synth_alphabet[static_cast<std::size_t>(symbol)]);
      part.domain.push_back(static_cast<std::uint8_t>(domain));
      part.entropy.push_back(static_cast<float>(mixture.entropy()));
      mixture.advance(symbol);
    }
  }
  content.train.bytes = static_cast<i64>(content.train.tokens.size());
  content.validation.bytes = static_cast<i64>(content.validation.tokens.size());
  content.domains = options.domains;
  content.window_alignment = options.document_length;
  content.validation_fraction = options.validation_fraction;
  content.origin = "synthetic";
  content.split_rule = fmt::format("validation is the last {} of {} documents", documents - training, documents);
  content.options = fmt::format(
      "tokens = {}\ndocument_length = {}\ndomains = {}\nseed = {}\nvalidation_fraction = {}\n", options.tokens,
      options.document_length, fmt::join(options.domains, ","), options.seed, options.validation_fraction);
  return content;
}

void synth_corpus(const SynthOptions& options, const std::string& out) {
  const Unfinished trial(out, options.force);  // before long work
  write_corpus(make_synth_corpus(options), out, options.force);
}

}  // namespace pleiad::io
