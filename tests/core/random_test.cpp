// Random numbers: the published test vectors of the generator, the layout of our counter, and that the numbers look random.
// The constants are part of the reproducibility contract: a change of any of them changes every run.
#include "pleiad/core/random.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace pleiad {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Random123, kat_vectors, philox4x32 with 10 rounds: counter and key of zeros, of ones, and digits of pi.
TEST(Stream, EqualsThePublishedVectorsOfPhilox) {
  EXPECT_EQ(Stream(0, static_cast<Purpose>(0)).words(0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Stream(~0ull, Purpose::test, 0xffffff, 0xffffffff).words(~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Stream(0x299f31d0a4093822, static_cast<Purpose>(3), 0x707344, 0x13198a2e).words(0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Stream, GivesTheNumbersItAlwaysGave) {
  const Stream s(42, Purpose::batch, 0, 7);
  EXPECT_EQ(s.words(123), (Words{0xa9b61d38, 0xa649a828, 0x0d32c545, 0xa4e8582d}));
  EXPECT_EQ(s.uniform(123), 0.6629350913338274);
  EXPECT_NEAR(s.normal(123), 0.8595695189048934, 1e-14);
  EXPECT_EQ(s.below(123, 1000), 662u);
  EXPECT_EQ(Stream::named(42, Purpose::init, "blocks/1/ffn/experts/5/w_in").words(9), (Words{0xaa1c2163, 0x20a590ff, 0xfdbbd09d, 0x357d20b6}));
  EXPECT_EQ(Stream(5, Purpose::init, 0, (3ull << 32) | 7).words(0), (Words{0xaf4ba297, 0x7e0d05aa, 0x02851b6c, 0xba876b58})) << "steps beyond 32 bits";
}

TEST(Stream, DrawsDependOnEveryPartOfTheirAddressAndOnNothingElse) {
  std::set<Words> all;
  int made = 0;
  for (const std::uint64_t seed : {1ull, 2ull, 1ull << 40}) {
    for (const Purpose purpose : {Purpose::init, Purpose::gate_noise, Purpose::sampling}) {
      for (const std::uint32_t layer : {0u, 1u, 70000u}) {
        for (const std::uint64_t step : {0ull, 1ull, 1ull << 33}) {
          for (const std::uint64_t index : {0ull, 1ull, 1ull << 32, 1ull << 63}) {
            all.insert(Stream(seed, purpose, layer, step).words(index));
            ++made;
          }
        }
      }
    }
  }
  EXPECT_EQ(all.size(), static_cast<std::size_t>(made)) << "two addresses gave the same draw";
  const Stream s(3, Purpose::test);
  const double late = s.uniform(900), early = s.uniform(2);
  EXPECT_EQ(s.uniform(2), early);
  EXPECT_EQ(s.uniform(900), late);
  EXPECT_NE(Stream::named(1, Purpose::init, "a").words(0), Stream::named(1, Purpose::init, "b").words(0));
}

TEST(Stream, UniformFillsTheOpenIntervalEvenly) {
  const Stream s(1, Purpose::test);
  constexpr int n = 40000, boxes = 20;
  int count[boxes] = {};
  double sum = 0, square = 0;
  for (int i = 0; i < n; ++i) {
    const double u = s.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    square += u * u;
    ++count[static_cast<int>(u * boxes)];
  }
  EXPECT_NEAR(sum / n, 0.5, 0.006);
  EXPECT_NEAR(square / n, 1.0 / 3, 0.006);
  double chi = 0;
  for (const int c : count) chi += (c - n / boxes) * (c - n / boxes) / static_cast<double>(n / boxes);
  EXPECT_LT(chi, 43.8) << "chi-square, 19 degrees of freedom, 0.1 %";
}

TEST(Stream, NormalHasTheMomentsOfTheNormalDistribution) {
  const Stream s(1, Purpose::test);
  constexpr int n = 40000;
  double m[5] = {};
  for (int i = 0; i < n; ++i) {
    const double x = s.normal(static_cast<std::uint64_t>(i));
    for (int k = 1; k < 5; ++k) m[k] += std::pow(x, k) / n;
  }
  EXPECT_NEAR(m[1], 0, 0.02);
  EXPECT_NEAR(m[2], 1, 0.03);
  EXPECT_NEAR(m[3], 0, 0.08);
  EXPECT_NEAR(m[4], 3, 0.25);
}

TEST(Stream, BelowCoversItsRangeEvenly) {
  const Stream s(1, Purpose::test);
  int count[7] = {};
  for (std::uint64_t i = 0; i < 14000; ++i) {
    const std::uint64_t k = s.below(i, 7);
    ASSERT_LT(k, 7u);
    ++count[k];
  }
  for (const int c : count) EXPECT_NEAR(c, 2000, 200);
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(s.below(i, 1), 0u);
  EXPECT_GT(s.below(0, ~0ull), 1ull << 40);
}

}  // namespace
}  // namespace pleiad
