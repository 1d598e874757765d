// The synthetic corpus tells the truth about itself: its entropies are what sampling and brute force find.
#include "pleiad/io/synth.hpp"

#include "support/problem.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

namespace pleiad::io {
namespace {

using test::problem_of;

std::string text_of(const CorpusContent::Part& part) {
  return Tokenizer().decode(part.tokens);
}

TEST(Synth, SameSeedSameBytes) {
  const SynthOptions options = {.tokens = 20000, .seed = 7};
  const CorpusContent a = make_synth_corpus(options), b = make_synth_corpus(options);
  EXPECT_EQ(a.train.tokens, b.train.tokens);
  EXPECT_EQ(a.train.domain, b.train.domain);
  EXPECT_EQ(a.validation.entropy, b.validation.entropy);
  EXPECT_NE(a.train.tokens, make_synth_corpus({.tokens = 20000, .seed = 8}).train.tokens);
  EXPECT_EQ(a.train.tokens.size(), 140u * 128);  // 156 documents, the last 10 % for validation
  EXPECT_EQ(a.validation.tokens.size(), 16u * 128);
  // A corpus begins like a longer one, but for the split.
  const CorpusContent c = make_synth_corpus({.tokens = 10000, .seed = 7, .validation_fraction = 0});
  EXPECT_TRUE(std::equal(c.train.tokens.begin(), c.train.tokens.end(), a.train.tokens.begin()));
  EXPECT_TRUE(c.validation.tokens.empty());
}

TEST(Synth, EntropyIsTheMeanSurprise) {
  const CorpusContent c = make_synth_corpus({.tokens = 300000, .seed = 3, .validation_fraction = 0});
  SynthMixture mixture(c.domains, 3);
  std::vector<double> sum(c.domains.size() + 1), squares(c.domains.size() + 1), count(c.domains.size() + 1);
  for (std::size_t i = 0; i < c.train.tokens.size(); ++i) {
    if (i % 128 == 0) mixture.reset();
    const int symbol = synth_symbol(static_cast<char>(c.train.tokens[i]));
    const double p = mixture.prediction()[static_cast<std::size_t>(symbol)];
    EXPECT_NEAR(c.train.entropy[i], mixture.entropy(), 1e-6);
    const double difference = -std::log(p) - static_cast<double>(c.train.entropy[i]);
    sum.back() += difference, squares.back() += difference * difference, count.back() += 1;
    // Once the domain is certain it holds for the domain alone, too.
    if (const std::size_t d = c.train.domain[i]; mixture.posterior()[d] > 0.999999) {
      sum[d] += difference, squares[d] += difference * difference, count[d] += 1;
    }
    mixture.advance(symbol);
  }
  // Differences given the past have mean zero and are uncorrelated, so their plain standard error applies.
  for (std::size_t d = 0; d < sum.size(); ++d) {
    ASSERT_GT(count[d], 1000);
    const double error = std::sqrt(squares[d]) / count[d];
    EXPECT_LT(std::abs(sum[d] / count[d]), 4 * error) << d;
    EXPECT_LT(error, 0.02);
  }
}

// Joint entropy of the first three symbols by enumeration of all texts, p(text) = mean over domains of the product of
// their own probabilities; the chain rule says it is the sum of expected conditional entropies.
TEST(Synth, BruteForceAgreesWithThePosterior) {
  const std::vector<std::string> domains = {"easy", "hard", "copy"};
  constexpr int n = 3, V = k_synth_symbols;
  double joint = 0, chain = 0, total = 0;
  std::vector<int> text(n);
  std::vector<std::unique_ptr<SynthSource>> sources;
  for (const std::string& d : domains) sources.push_back(make_synth_source(d, 11));
  std::vector<double> p(V);
  const auto own_probability = [&](SynthSource& source) {
    source.reset();
    double product = 1;
    for (int i = 0; i < n && product > 0; ++i) {
      source.probabilities(p.data());
      product *= p[static_cast<std::size_t>(text[static_cast<std::size_t>(i)])];
      if (product > 0) source.advance(text[static_cast<std::size_t>(i)]);
    }
    return product;
  };
  SynthMixture mixture(domains, 11);
  for (text[0] = 0; text[0] < V; ++text[0]) {
    for (text[1] = 0; text[1] < V; ++text[1]) {
      for (text[2] = 0; text[2] < V; ++text[2]) {
        std::vector<double> own;
        double all = 0;
        for (const auto& source : sources) all += own.emplace_back(own_probability(*source)) / 3;
        if (all == 0) continue;
        total += all;
        joint -= all * std::log(all);
        mixture.reset();
        double of_text = 1;
        for (const int symbol : text) {
          chain += all * mixture.entropy();
          of_text *= mixture.prediction()[static_cast<std::size_t>(symbol)];
          mixture.advance(symbol);
        }
        EXPECT_NEAR(of_text, all, 1e-12 * all);
        for (std::size_t d = 0; d < 3; ++d) EXPECT_NEAR(mixture.posterior()[d], own[d] / (3 * all), 1e-9);
      }
    }
  }
  EXPECT_NEAR(total, 1, 1e-9);
  EXPECT_NEAR(chain, joint, 1e-9);
}

TEST(Synth, EverySourceIsADistribution) {
  for (const std::string& name : synth_domain_names()) {
    SynthMixture one({name}, 5);
    const CorpusContent c =
        make_synth_corpus({.tokens = 12800, .domains = {name}, .seed = 5, .validation_fraction = 0});
    for (std::size_t i = 0; i < c.train.tokens.size(); ++i) {
      if (i % 128 == 0) one.reset();
      double sum = 0;
      for (const double p : one.prediction()) sum += p;
      ASSERT_NEAR(sum, 1, 1e-9) << name;
      one.advance(synth_symbol(static_cast<char>(c.train.tokens[i])));
    }
  }
}

TEST(Synth, CopiesAndResultsAreCertain) {
  const CorpusContent c = make_synth_corpus({.tokens = 25600, .domains = {"copy"}, .validation_fraction = 0});
  const std::string text = text_of(c.train);
  for (std::size_t d = 0; d < text.size(); d += 128) {
    std::string word, copy;
    bool copying = false;
    for (std::size_t i = d; i < d + 128; ++i) {
      EXPECT_EQ(c.train.entropy[i] == 0.0f, copying || word.size() == 20);  // after twenty letters the | is certain
      if (text[i] == '\n') {
        EXPECT_EQ(copy, word);
        word.clear(), copy.clear(), copying = false;
      } else if (text[i] == '|') {
        copying = true;
      } else {
        (copying ? copy : word) += text[i];
      }
    }
  }
}

TEST(Synth, SumsAreRightAndCertain) {
  const CorpusContent c = make_synth_corpus({.tokens = 25600, .domains = {"arithmetic"}, .validation_fraction = 0});
  const std::string text = text_of(c.train);
  int checked = 0;
  for (std::size_t d = 0; d < text.size(); d += 128) {
    const std::string document = text.substr(d, 128);
    for (std::size_t at = 0, end; (end = document.find(';', at)) != std::string::npos; at = end + 1) {
      int a = 0, b = 0, sum = 0;
      ASSERT_EQ(std::sscanf(document.c_str() + at, "%d+%d=%d;", &a, &b, &sum), 3);
      EXPECT_EQ(a + b, sum);
      for (std::size_t i = document.find('=', at) + 1; i <= end; ++i) EXPECT_EQ(c.train.entropy[d + i], 0.0f);
      ++checked;
    }
  }
  EXPECT_GT(checked, 1000);
}

TEST(Synth, BracketsClose) {
  const CorpusContent c = make_synth_corpus({.tokens = 25600, .domains = {"brackets"}, .validation_fraction = 0});
  const std::string text = text_of(c.train);
  const std::map<char, char> partner = {{')', '('}, {']', '['}, {'}', '{'}, {'>', '<'}};
  for (std::size_t d = 0; d < text.size(); d += 128) {
    std::string open;
    for (const char x : text.substr(d, 128)) {
      if (x == '\n') {
        EXPECT_TRUE(open.empty());
      } else if (partner.count(x)) {
        ASSERT_FALSE(open.empty());
        EXPECT_EQ(open.back(), partner.at(x));
        open.pop_back();
      } else {
        open += x;
      }
      EXPECT_LE(open.size(), 8u);
    }
  }
}

TEST(Synth, LanguagesHaveTheirDifficulty) {
  const std::map<std::string, double> nats = {{"easy", 0.5}, {"medium", 1.2}, {"hard", 2.0}};
  for (const auto& [name, wanted] : nats) {
    const CorpusContent c = make_synth_corpus({.tokens = 2560, .domains = {name}, .validation_fraction = 0});
    for (const float h : c.train.entropy) EXPECT_NEAR(h, wanted, 1e-5) << name;
  }
  // Together the domain must be found out first: early tokens are harder than late ones.
  const CorpusContent c =
      make_synth_corpus({.tokens = 128000, .domains = {"easy", "medium", "hard"}, .validation_fraction = 0});
  double early = 0, late = 0;
  for (std::size_t i = 0; i < c.train.entropy.size(); ++i) {
    if (i % 128 < 2) early += static_cast<double>(c.train.entropy[i]) / 2000;
    if (i % 128 >= 120) late += static_cast<double>(c.train.entropy[i]) / 8000;
  }
  EXPECT_GT(early, late + 0.2);
  EXPECT_NEAR(late, (0.5 + 1.2 + 2.0) / 3, 0.1);
}

TEST(Synth, BadOptionsAreNamed) {
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.tokens = 100}); }),
                  "corpus of 100 tokens; allowed: one document (128)");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.document_length = 1}); }), "document length is 1 tokens");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.domains = {"poems"}}); }),
                  "domain 'poems' is unknown; allowed: easy, medium");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.domains = {"easy", "easy"}}); }), "named twice");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.domains = {}}); }), "no domain was named");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.validation_fraction = 1}); }),
                  "validation fraction is 1; allowed: 0 to 0.9");
  EXPECT_MENTIONS(problem_of([] { make_synth_corpus({.tokens = 128, .validation_fraction = 0.5}); }),
                  "the corpus is empty");
}

}  // namespace
}  // namespace pleiad::io
