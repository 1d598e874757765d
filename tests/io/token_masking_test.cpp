// Which tokens are hidden, by what, and that it depends on nothing but their numbers; and the batches of a corpus with hidden tokens.
#include "pleiad/io/token_masking.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "pleiad/io/corpus_source.hpp"
#include "pleiad/io/synth.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

using Tokens = std::vector<std::int32_t>;

struct Masked {
  Tokens input, target;
};

Tokens letters(i64 count) {
  Tokens tokens;
  for (i64 i = 0; i < count; ++i) tokens.push_back(static_cast<std::int32_t>(97 + i % 26));
  return tokens;
}

Masked train(double share, i64 step = 0, std::uint64_t seed = 1, i64 count = 200000) {
  Masked m{letters(count), Tokens(static_cast<std::size_t>(count))};
  TokenMasking(Tokenizer(), share, seed).training(step, 0, m.input, m.target);
  return m;
}

/// Within four standard deviations of a share.
void expect_share(double count, double of, double share) { EXPECT_NEAR(count / of, share, 4 * std::sqrt(share * (1 - share) / of)); }

TEST(TokenMasking, HidesAShareOfThePositionsByMaskRandomTokenOrNothing) {
  for (const double share : {0.15, 0.4, 1.0}) {
    const Masked m = train(share);
    const Tokens was = letters(200000);
    double chosen = 0, masked = 0, same = 0, other = 0;
    std::vector<i64> random(256, 0);
    for (std::size_t i = 0; i < was.size(); ++i) {
      if (m.target[i] < 0) {
        EXPECT_EQ(m.target[i], -1);
        EXPECT_EQ(m.input[i], was[i]);
        continue;
      }
      EXPECT_EQ(m.target[i], was[i]);
      ++chosen;
      masked += m.input[i] == mask_token(Tokenizer());
      same += m.input[i] == was[i];
      if (m.input[i] == mask_token(Tokenizer()) || m.input[i] == was[i]) continue;
      ++other;
      ASSERT_TRUE(m.input[i] >= 0 && m.input[i] < 256);
      ++random[m.input[i]];
    }
    if (share < 1) expect_share(chosen, 200000, share);
    else EXPECT_EQ(chosen, 200000);
    expect_share(masked, chosen, 0.8);
    expect_share(same, chosen, 0.1 + 0.1 / 256);  // a random token may be the same
    expect_share(other, chosen, 0.1 * 255 / 256);
    for (const i64 n : random) EXPECT_NEAR(static_cast<double>(n), other / 256, 6 * std::sqrt(other / 256));
  }
}

TEST(TokenMasking, IsAFunctionOfSeedStepAndPosition) {
  const Masked whole = train(0.15, 7, 3, 1000);
  for (const i64 cut : {1, 333, 999}) {
    Masked parts{letters(1000), Tokens(1000)};
    const TokenMasking masking(Tokenizer(), 0.15, 3);
    const auto piece = [&](Tokens& list, i64 begin, i64 count) { return std::span(list).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)); };
    for (const auto& [begin, count] : {std::pair{cut, 1000 - cut}, {i64{0}, cut}}) masking.training(7, begin, piece(parts.input, begin, count), piece(parts.target, begin, count));
    EXPECT_EQ(parts.input, whole.input);
    EXPECT_EQ(parts.target, whole.target);
  }
  EXPECT_NE(train(0.15, 8, 3, 1000).target, whole.target);
  EXPECT_NE(train(0.15, 7, 4, 1000).target, whole.target);
  // A larger share hides the same ones and more.
  const Masked more = train(0.3, 7, 3, 1000);
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_TRUE(whole.target[i] < 0 || more.target[i] == whole.target[i]);
}

TEST(TokenMasking, OfAnEvaluationIsTheSameForAllSeeds) {
  Masked one{letters(1000), Tokens(1000)}, two = one, later{letters(1000), Tokens(1000)};
  TokenMasking(Tokenizer(), 0.15, 1).evaluation(0, one.input, one.target);
  TokenMasking(Tokenizer(), 0.15, 2).evaluation(0, two.input, two.target);
  TokenMasking(Tokenizer(), 0.15, 1).evaluation(1000, later.input, later.target);
  EXPECT_EQ(one.input, two.input);
  EXPECT_EQ(one.target, two.target);
  EXPECT_NE(one.target, later.target);
  EXPECT_NE(one.target, train(0.15, 0, 0, 1000).target);
}

class MaskedCorpusTest : public test::TemporaryFolder {
 protected:
  Corpus corpus() const {
    synth_corpus({.tokens = 64 * 100, .document_length = 64, .seed = 4}, at("c.h5"));
    return Corpus::load(at("c.h5"));
  }
};

TEST_F(MaskedCorpusTest, BatchesAreTheSameOnAnyNumberOfRanks) {
  const Corpus c = corpus();
  CorpusSource source(c, 32, 5, Split::validation, TokenMasking(c.tokenizer(), 0.15, 5));
  const auto all_ranks = [&](i64 ranks, bool training) {
    std::pair<Tokens, Tokens> all;
    for (i64 rank = 0; rank < ranks; ++rank) {
      const LaneLayout lanes(8, 10, 32, ranks, rank);
      train::Truth truth;
      const model::Batch b = training ? source.training(3, lanes) : source.evaluation(4, lanes, truth);
      all.first.insert(all.first.end(), b.input.begin(), b.input.end());
      all.second.insert(all.second.end(), b.target.begin(), b.target.end());
      EXPECT_TRUE(truth.entropy.empty());
    }
    return all;
  };
  for (const i64 ranks : {2, 3, 5}) {
    for (const bool training : {true, false}) EXPECT_EQ(all_ranks(ranks, training), all_ranks(1, training)) << ranks;
  }
}

TEST_F(MaskedCorpusTest, AnEvaluationWindowHidesTheSameTokensInAnyBatch) {
  const Corpus c = corpus();
  CorpusSource source(c, 32, 5, Split::validation, TokenMasking(c.tokenizer(), 0.15, 5)), plain(c, 32, 5);
  train::Truth truth, one_truth, known;
  const model::Batch many = source.evaluation(0, LaneLayout(1, 6, 32, 1, 0), truth), of_plain = plain.evaluation(0, LaneLayout(1, 6, 32, 1, 0), known);
  const model::Batch one = source.evaluation(3, LaneLayout(1, 1, 32, 1, 0), one_truth);
  EXPECT_EQ(one.target, Tokens(many.target.begin() + 96, many.target.begin() + 128));
  EXPECT_EQ(one.input, Tokens(many.input.begin() + 96, many.input.begin() + 128));
  // A hidden token is what stands at its own place, and so is its domain; the model of the next token has it one place earlier.
  for (std::size_t t = 1; t < many.target.size(); ++t) {
    EXPECT_EQ(many.target[t] < 0 ? many.input[t] : many.target[t], of_plain.input[t]);
    EXPECT_EQ(truth.domain[t], known.domain[t - 1]);
  }
}

}  // namespace
}  // namespace pleiad::io
