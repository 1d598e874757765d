#include "pleiad/ops/softmax.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;

constexpr real k_inf = std::numeric_limits<real>::infinity();

TEST(Softmax, ByHand) {
  Matrix z(1, 2), p(1, 2);
  z(0, 0) = std::log(real(3));
  std::vector<real> log_sum_exp(1);

  softmax_rows(z, p, log_sum_exp);

  EXPECT_NEAR(p(0, 0), 0.75, 1e-7);
  EXPECT_NEAR(p(0, 1), 0.25, 1e-7);
  EXPECT_NEAR(log_sum_exp[0], std::log(4.0), 1e-6);
}

TEST(Softmax, OneColumnIsCertain) {
  Matrix z(2, 1), p(2, 1);
  z(0, 0) = -1e30f, z(1, 0) = 1e30f;
  softmax_rows(z, p, {});
  EXPECT_EQ(p(0, 0), 1);
  EXPECT_EQ(p(1, 0), 1);
}

TEST(Softmax, HugeAndInfiniteEntriesAreStable) {
  Matrix z(2, 3), p(2, 3);
  z(0, 0) = 1e4f, z(0, 1) = 1e4f, z(0, 2) = -1e4f;
  z(1, 0) = -k_inf, z(1, 1) = 5, z(1, 2) = -k_inf;
  std::vector<real> log_sum_exp(2);

  softmax_rows(z, p, log_sum_exp);

  EXPECT_EQ(p(0, 0), real(0.5));
  EXPECT_EQ(p(0, 2), 0);
  EXPECT_EQ(p(1, 1), 1);
  EXPECT_EQ(p(1, 0), 0);
  EXPECT_EQ(log_sum_exp[1], 5);
}

TEST(Softmax, NothingFiniteOrNaNIsVisible) {
  Matrix z(2, 2), p(2, 2);
  z(0, 0) = z(0, 1) = -k_inf;
  z(1, 1) = std::numeric_limits<real>::quiet_NaN();
  softmax_rows(z, p, {});
  for (const real x : p.flat()) EXPECT_TRUE(std::isnan(x));
}

TEST(Softmax, RowsSumToOneAndDoNotDependOnPlaceOrCompany) {
  for (const i64 N : {1, 3, 8, 17, 64, 131}) {
    const Matrix z = random_matrix(6, N, 1, 8), d_p = random_matrix(6, N, 2);
    Matrix p(6, N), d_z(6, N);
    softmax_rows(z, p, {});
    softmax_backward_rows(p, d_p, d_z);

    Shifted one(z.view().row_range(3, 1)), d_one(d_p.view().row_range(3, 1), 1);
    softmax_rows(one.view(), one.view(), {});
    softmax_backward_rows(one.view(), d_one.view(), d_one.view());

    EXPECT_TRUE(same_bits(one.view(), p.view().row_range(3, 1)));
    EXPECT_TRUE(same_bits(d_one.view(), d_z.view().row_range(3, 1)));
    double total = 0;
    for (i64 n = 0; n < N; ++n) total += static_cast<double>(p(3, n));
    EXPECT_NEAR(total, 1, 1e-6);
  }
}

TEST(Softmax, BackwardOfWhatAllHaveInCommonIsZeroFarBelowRounding) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Matrix p = random_matrix(1, 7, seed, 3), d(1, 7);
    softmax_rows(p, p, {});
    std::ranges::fill(d.flat(), real(0.3) * static_cast<real>(seed));
    softmax_backward_rows(p, d, d);
    for (const real g : d.flat()) EXPECT_LT(std::abs(g), 1e-12);
  }
}

TEST(Softmax, BackwardIsAccurateBesideAHugeGradientOfAnImprobableEntry) {
  Matrix p(1, 3), d(1, 3);
  const real probabilities[] = {1e-6f, 0.5f, 0.5f}, gradients[] = {1e4f, 0.013f, -0.011f};
  std::ranges::copy(probabilities, p.data());
  std::ranges::copy(gradients, d.data());
  softmax_backward_rows(p, d, d);
  const double mean = static_cast<double>(probabilities[0]) * 1e4 + 0.5 * (static_cast<double>(gradients[1]) + static_cast<double>(gradients[2]));
  EXPECT_NEAR(d(0, 1), 0.5 * (static_cast<double>(gradients[1]) - mean), 1e-8);
  EXPECT_NEAR(d(0, 2), 0.5 * (static_cast<double>(gradients[2]) - mean), 1e-8);
}

TEST(Softmax, RefusesShapesThatDisagree) {
  Matrix z(2, 3), p(3, 2), none(2, 0);
  std::vector<real> short_one(1);
  EXPECT_THROW(softmax_rows(z, p, {}), LogicError);
  EXPECT_THROW(softmax_rows(z, z, short_one), LogicError);
  EXPECT_THROW(softmax_rows(none, none, {}), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
