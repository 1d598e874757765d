// Expected scores are those that SacreBLEU's own tests state for these sentences, or counted by hand where it says so.
#include <gtest/gtest.h>

#include <cmath>

#include "pleiad/core/error.hpp"
#include "pleiad/report/translation_scores.hpp"

namespace pleiad::report {
namespace {

using Words = std::vector<std::string>;

const Lines k_dog = {"The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."};
const std::vector<Lines> k_dog_references = {{"The dog bit the man.", "It was not unexpected.", "The man bit him first."},
                                             {"The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."}};

TEST(Bleu, TwoReferencesAsSacrebleuCounts) {
  EXPECT_NEAR(bleu(k_dog, k_dog_references).score, 48.530827, 1e-6);
  EXPECT_EQ(bleu(Lines{"", "", ""}, k_dog_references).score, 0);
}

TEST(Bleu, CountsAndBrevity) {
  const std::vector<Lines> reference = {{"I am a symbol string sequence a a"}};
  const Bleu b = bleu(Lines{"am I am a character sequence"}, reference);
  EXPECT_EQ(b.matches, (std::array<i64, 4>{4, 2, 1, 0}));
  EXPECT_EQ(b.totals, (std::array<i64, 4>{6, 5, 4, 3}));
  EXPECT_EQ(b.translation_length, 6);
  EXPECT_EQ(b.reference_length, 8);
  EXPECT_NEAR(b.brevity_penalty, std::exp(1 - 8.0 / 6), 1e-12);
  // By hand: the fourth precision is smoothed to half of one n-gram.
  EXPECT_NEAR(b.score, 100 * std::exp(1 - 8.0 / 6) * std::pow(4.0 / 6 * 2 / 5 * 1 / 4 * 0.5 / 3, 0.25), 1e-9);
}

TEST(Bleu, TheSameIsAHundredAndNothingIsZero) {
  const std::vector<Lines> reference = {{"this is a test , 3.5 times", "so it is"}};
  EXPECT_NEAR(bleu(reference[0], reference).score, 100, 1e-9);
  EXPECT_EQ(bleu(Lines{"nothing in common here", "none"}, reference).score, 0);
}

TEST(Bleu, TokensOfMteval13a) {
  EXPECT_EQ(tokens_13a("Hello, world!"), (Words{"Hello", ",", "world", "!"}));
  EXPECT_EQ(tokens_13a("It's 1,000.50 dollars."), (Words{"It's", "1,000.50", "dollars", "."}));
  EXPECT_EQ(tokens_13a("well-known 3-4 \"a\" &amp; (b)"), (Words{"well-known", "3", "-", "4", "\"", "a", "\"", "&", "(", "b", ")"}));
  EXPECT_EQ(tokens_13a("wait... über, 5."), (Words{"wait", ".", ".", ".", "über", ",", "5", "."}));
  EXPECT_EQ(tokens_13a("   "), Words{});
}

TEST(Chrf, AsSacrebleuCounts) {
  const auto of = [](const Lines& translations, const Lines& reference) { return chrf(translations, std::vector<Lines>{reference}, 6, 3); };
  EXPECT_NEAR(of({"a"}, {"a"}), 100, 1e-9);
  EXPECT_EQ(of({""}, {"reference"}), 0);
  EXPECT_NEAR(of({"a b c"}, {"abc"}), 100, 1e-9);
  EXPECT_NEAR(of({"a", "b"}, {"a", "c"}), 50, 1e-9);
  EXPECT_NEAR(of({"aa"}, {"ab"}), 25, 1e-9);
  EXPECT_NEAR(of({" risk assessment must be made of those who are qualified and expertise in the sector - these are the scientists ."},
                 {"risk assessment has to be undertaken by those who are qualified and expert in that area - that is the scientists ."}),
              63.361730, 1e-4);
  EXPECT_NEAR(of({" Die    Beziehung zwischen  Obama und Netanjahu ist nicht gerade  freundlich. "},
                 {"Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich."}),
              64.1302698, 1e-4);
}

// Stated for the mean of the F scores of all lengths; the F score of their means is within 0.001 of it.
TEST(Chrf, BetaTwoOnSentences) {
  const auto of = [](const std::string& translation, const std::string& reference) { return chrf(Lines{translation}, std::vector<Lines>{{reference}}); };
  EXPECT_NEAR(of("Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.",
                 "Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře."), 39.14078509, 1e-3);
  EXPECT_NEAR(of("Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.",
                 "A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři."), 31.22557079, 1e-3);
  EXPECT_NEAR(of("Lapali po dechu, jejich životy skončily dřív, než skutečně začaly.",
                 "Lapali po dechu a pak jejich život skončil - dřív, než skutečně mohl začít, připomněli."), 57.15704367, 1e-3);
}

TEST(TranslationScores, LinesMustBelongTogether) {
  EXPECT_THROW(bleu(Lines{"a", "b"}, std::vector<Lines>{{"a"}}), UserError);
  EXPECT_THROW(chrf(Lines{"a"}, std::vector<Lines>{}), UserError);
}

}  // namespace
}  // namespace pleiad::report
