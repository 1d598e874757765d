#include "pleiad/ops/rms_norm.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;

TEST(RmsNorm, ByHand) {
  Matrix x(1, 2), w(1, 2), y(1, 2);
  x(0, 0) = 3, x(0, 1) = 4;  // mean square 12.5
  w(0, 0) = 1, w(0, 1) = 2;
  std::vector<real> r(1);

  rms_norm_forward(x, w, 0, y, r);

  EXPECT_NEAR(r[0], 1 / std::sqrt(12.5), 1e-7);
  EXPECT_NEAR(y(0, 0), 3 / std::sqrt(12.5), 1e-6);
  EXPECT_NEAR(y(0, 1), 8 / std::sqrt(12.5), 1e-6);
}

TEST(RmsNorm, ARowOfZerosStaysZero) {
  Matrix x(1, 4), w(1, 4), y(1, 4);
  std::vector<real> r(1);
  rms_norm_forward(x, w, real(1e-5), y, r);
  for (const real v : y.flat()) EXPECT_EQ(v, 0);
}

TEST(RmsNorm, ARowDoesNotDependOnItsPlaceOrCompany) {
  const i64 T = 9, D = 45;
  const Matrix x = random_matrix(T, D, 1), w = random_matrix(1, D, 2), d_y = random_matrix(T, D, 3);
  Matrix y(T, D), d_x(T, D), d_w(1, D);
  std::vector<real> r(T);
  rms_norm_forward(x, w, real(1e-5), y, r);
  rms_norm_backward(x, w, r, d_y, d_x, d_w);

  Shifted x1(x.view().row_range(4, 1)), d_y1(d_y.view().row_range(4, 1), 1), y1(Matrix(1, D).view(), 2),
      d_x1(Matrix(1, D).view(), 7);
  Matrix d_w1(1, D);
  std::vector<real> r1(1);
  rms_norm_forward(x1.view(), w, real(1e-5), y1.view(), r1);
  rms_norm_backward(x1.view(), w, r1, d_y1.view(), d_x1.view(), d_w1);

  EXPECT_EQ(r1[0], r[4]);
  EXPECT_TRUE(same_bits(y1.view(), y.view().row_range(4, 1)));
  EXPECT_TRUE(same_bits(d_x1.view(), d_x.view().row_range(4, 1)));
}

TEST(RmsNorm, BackwardAdds) {
  const Matrix x = random_matrix(3, 5, 1), w = random_matrix(1, 5, 2), d_y = random_matrix(3, 5, 3);
  Matrix y(3, 5), d_x(3, 5), d_w(1, 5), more_x(3, 5), more_w(1, 5);
  std::vector<real> r(3);
  rms_norm_forward(x, w, real(1e-5), y, r);
  for (real& v : more_x.flat()) v = 1;
  for (real& v : more_w.flat()) v = 1;

  rms_norm_backward(x, w, r, d_y, d_x, d_w);
  rms_norm_backward(x, w, r, d_y, more_x, more_w);

  EXPECT_NEAR(more_x(1, 2), 1 + d_x(1, 2), 1e-6);
  EXPECT_NEAR(more_w(0, 2), 1 + d_w(0, 2), 1e-6);
}

TEST(RmsNorm, RefusesShapesThatDisagree) {
  Matrix x(2, 3), w(1, 4), y(2, 3);
  std::vector<real> r(2);
  EXPECT_THROW(rms_norm_forward(x, w, 0, y, r), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
