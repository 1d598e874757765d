#include "pleiad/ops/tile.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

namespace pleiad::ops {
namespace {

using test::random_matrix;

constexpr real k_inf = std::numeric_limits<float>::infinity();

TEST(Wide, ExpGivesTheBitsOfTheScalarOne) {
  std::vector<real> x = {real(-k_inf), -100, real(-87.33), real(-87.4), -1, real(-0.0), 0, real(1e-9), 1, real(88.7), real(88.8), 90, 1000, real(k_inf)};
  for (int i = 0; i < 1000; ++i) x.push_back(real(i) * real(0.177) - 88);
  x.resize(static_cast<std::size_t>(wide::padded(static_cast<i64>(x.size()))), real(0.5));
  for (std::size_t i = 0; i < x.size(); i += k_wide) {
    const Wide y = wide::exp(wide::load(&x[i]));
    for (std::size_t j = 0; j < k_wide; ++j) EXPECT_EQ(y[j], vec::exp(x[i + j])) << x[i + j];
  }
  EXPECT_TRUE(std::isnan(wide::exp(wide::all(std::numeric_limits<real>::quiet_NaN()))[0]));
}

TEST(Wide, MultipliesAndAddsWithTheRoundingOfTheScalarOne) {
  const Matrix m = random_matrix(3, k_wide, 7);
  const Wide r = wide::mul_add(wide::load(m.row(0)), wide::load(m.row(1)), wide::load(m.row(2)));
  for (i64 i = 0; i < k_wide; ++i) EXPECT_EQ(r[i], vec::mul_add(m(0, i), m(1, i), m(2, i)));
}

TEST(Wide, FoldsAndMasks) {
  Matrix m(1, k_wide);
  for (i64 i = 0; i < k_wide; ++i) m(0, i) = static_cast<real>(i + 1);
  const Wide w = wide::load(m.data());
  EXPECT_EQ(wide::sum(w), static_cast<real>(k_wide * (k_wide + 1) / 2));
  EXPECT_EQ(wide::max(w), static_cast<real>(k_wide));
  for (i64 n = -1; n <= k_wide + 1; ++n) {
    const Wide picked = wide::first(n) ? w : Wide{};
    for (i64 i = 0; i < k_wide; ++i) EXPECT_EQ(picked[i], i < n ? m(0, i) : 0);
  }
  EXPECT_TRUE(std::signbit(wide::all(real(-0.0))[k_wide - 1]));
}

TEST(Tile, IsOneChainOfMultiplyAddsAtEverySize) {
  for (const i64 m : {1, 2, 3, 5, 6, 7, 11, 12, 13, 23, 24, 25}) {
    for (const i64 n : {1, 2, 3, 4, 5, 7}) {
      for (const i64 k : {0, 1, 2, 17}) {
        const Matrix a = random_matrix(m, k + 1, 1), b = random_matrix(k + 1, n * k_wide, 2), old = random_matrix(m, n * k_wide, 3);
        Matrix turned(k + 1, m);
        for (i64 i = 0; i < m; ++i) {
          for (i64 p = 0; p <= k; ++p) turned(p, i) = a(i, p);
        }
        for (const bool add : {false, true}) {
          Matrix c = random_matrix(m, n * k_wide, 3), other = random_matrix(m, n * k_wide, 3);
          tile::multiply(m, n * k_wide, k, {a.data(), k + 1, 1}, b.data(), n * k_wide, c.data(), n * k_wide, add);
          tile::multiply(m, n * k_wide, k, {turned.data(), 1, m}, b.data(), n * k_wide, other.data(), n * k_wide, add);
          ASSERT_TRUE(test::same_bits(c, other));
          for (i64 i = 0; i < m; ++i) {
            for (i64 j = 0; j < n * k_wide; ++j) {
              real sum = add ? old(i, j) : 0;
              for (i64 p = 0; p < k; ++p) sum = vec::mul_add(a(i, p), b(p, j), sum);
              ASSERT_EQ(c(i, j), sum) << m << " " << n << " " << k;
            }
          }
        }
      }
    }
  }
}

TEST(Tile, TransposesAndFillsUp) {
  for (const i64 rows : {1, 7, 8, 15, 16, 17, 33}) {
    for (const i64 cols : {1, 6, 8, 16, 23, 32}) {
      const Matrix x = random_matrix(rows, cols, 5);
      const i64 width = wide::padded(rows) + 3;
      Matrix to = random_matrix(cols, width, 6);
      const Matrix before = random_matrix(cols, width, 6);
      tile::transpose(x, to.data(), width);
      for (i64 j = 0; j < cols; ++j) {
        for (i64 i = 0; i < width; ++i) ASSERT_EQ(to(j, i), i < rows ? x(i, j) : i < width - 3 ? 0 : before(j, i));
      }
    }
  }
}

}  // namespace
}  // namespace pleiad::ops
