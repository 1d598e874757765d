#include "pleiad/ops/vec.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

namespace pleiad::ops {
namespace {

using test::random_matrix;

constexpr float k_inf = std::numeric_limits<float>::infinity();

TEST(Vec, SumsOfWholeNumbersAreExactAtEveryLength) {
  std::vector<real> x(70), y(70);
  for (i64 i = 0; i < 70; ++i) x[std::size_t(i)] = real(i + 1), y[std::size_t(i)] = real(2 * i - 30);
  i64 sum = 0, dot = 0, cubes = 0;
  for (i64 n = 0; n <= 70; ++n) {
    EXPECT_EQ(vec::sum(x.data(), n), real(sum));
    EXPECT_EQ(vec::dot(x.data(), y.data(), n), real(dot));
    EXPECT_EQ(vec::dot3(x.data(), x.data(), x.data(), n), real(cubes));
    EXPECT_EQ(vec::sum_of(n, [&](i64 i) { return x[std::size_t(i)]; }), real(sum));
    EXPECT_EQ(vec::max(x.data(), n), n == 0 ? -k_inf : real(n));
    sum += n + 1, dot += (n + 1) * (2 * n - 30), cubes += (n + 1) * (n + 1) * (n + 1);
  }
}

TEST(Vec, SumOfLongRunsGoesOverManyBlocks) {
  EXPECT_EQ(vec::sum_of(1000, [](i64 i) { return real(i); }), real(499500));
}

TEST(Vec, MaxFindsTheLargestAtEveryPlace) {
  for (const i64 n : {1, 7, 8, 15, 16, 17, 40}) {
    for (i64 at = 0; at < n; ++at) {
      std::vector<real> x(std::size_t(n), real(-5));
      x[std::size_t(at)] = -1;
      EXPECT_EQ(vec::max(x.data(), n), -1);
    }
  }
}

TEST(Vec, ReductionsGiveTheSameBitsAtAnyAddress) {
  const Matrix x = random_matrix(1, 203, 1), y = random_matrix(1, 203, 2);
  Matrix room_x(1, 240), room_y(1, 240);
  for (const i64 n : {1, 8, 31, 100, 203}) {
    const real dot = vec::dot(x.data(), y.data(), n), sum = vec::sum(x.data(), n);
    for (i64 shift = 0; shift < 17; ++shift) {
      std::copy_n(x.data(), n, room_x.data() + shift);
      std::copy_n(y.data(), n, room_y.data() + 2 * shift);
      EXPECT_EQ(vec::dot(room_x.data() + shift, room_y.data() + 2 * shift, n), dot);
      EXPECT_EQ(vec::sum(room_x.data() + shift, n), sum);
    }
  }
}

TEST(Vec, ElementwiseHelpers) {
  std::vector<real> x = {1, 2, 3}, y = {10, 20, 30};
  vec::axpy(2, x.data(), y.data(), 3);
  EXPECT_EQ(y, (std::vector<real>{12, 24, 36}));
  vec::add(x.data(), y.data(), 3);
  EXPECT_EQ(y, (std::vector<real>{13, 26, 39}));
  vec::scale(2, y.data(), 3);
  EXPECT_EQ(y, (std::vector<real>{26, 52, 78}));
}

TEST(Vec, ExpIsAccurateToTwoUlp) {
  double worst = 0;
  for (double a = -87.3; a < 88.7; a += 0.00137) {
    const float x = static_cast<float>(a);
    const double exact = std::exp(static_cast<double>(x));
    const float near = static_cast<float>(exact);
    const double ulp = static_cast<double>(std::nextafter(near, k_inf)) - static_cast<double>(near);
    worst = std::max(worst, std::abs(static_cast<double>(vec::exp(x)) - exact) / ulp);
  }
  EXPECT_LT(worst, 2.0);
}

TEST(Vec, ExpAtTheExtremes) {
  EXPECT_EQ(vec::exp(0.0f), 1.0f);
  EXPECT_EQ(vec::exp(-1000.0f), 0.0f);
  EXPECT_EQ(vec::exp(-88.0f), 0.0f);
  EXPECT_EQ(vec::exp(-k_inf), 0.0f);
  EXPECT_EQ(vec::exp(89.0f), k_inf);
  EXPECT_EQ(vec::exp(k_inf), k_inf);
  EXPECT_TRUE(std::isfinite(vec::exp(88.7f)));
  EXPECT_TRUE(std::isnan(vec::exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Vec, ErfIsAccurateAndSaturates) {
  double worst = 0;
  for (double a = -5; a < 5; a += 0.000137) {
    const float x = static_cast<float>(a);
    worst = std::max(worst, std::abs(static_cast<double>(vec::erf(x)) - std::erf(static_cast<double>(x))));
  }
  EXPECT_LT(worst, 1.5e-7);
  EXPECT_EQ(vec::erf(0.0f), 0.0f);
  EXPECT_EQ(vec::erf(4.0f), 1.0f);
  EXPECT_EQ(vec::erf(-k_inf), -1.0f);
  EXPECT_TRUE(std::isnan(vec::erf(std::numeric_limits<float>::quiet_NaN())));
}

TEST(Vec, ExpAndErfAreTheSameInLoopsAndAlone) {
  const Matrix x = random_matrix(1, 61, 3, 6);
  Matrix y(1, 61), z(1, 61);
  for (i64 i = 0; i < 61; ++i) y.data()[i] = vec::exp(x.data()[i]), z.data()[i] = vec::erf(x.data()[i]);
  for (i64 i = 0; i < 61; ++i) {
    volatile real alone = x.data()[i];
    EXPECT_EQ(y.data()[i], vec::exp(alone));
    EXPECT_EQ(z.data()[i], vec::erf(alone));
  }
}

TEST(Vec, SigmoidAndNormalDistribution) {
  EXPECT_EQ(vec::sigmoid(0), real(0.5));
  EXPECT_EQ(vec::sigmoid(-1000), 0);
  EXPECT_EQ(vec::sigmoid(1000), 1);
  EXPECT_EQ(vec::normal_cdf(0), real(0.5));
  EXPECT_EQ(vec::normal_cdf(-10), 0);
  EXPECT_NEAR(vec::normal_cdf(1), 0.8413447460685429, 2e-7);
  EXPECT_NEAR(vec::normal_density(1), 0.24197072451914337, 1e-7);
}

}  // namespace
}  // namespace pleiad::ops
