#include "pleiad/ops/linear.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

TEST(LinearGradient, AgreesWithDifferences) {
  Matrix x = random_matrix(4, 3, 1), w = random_matrix(5, 3, 2), y(4, 5), d_x(4, 3), d_w(5, 3);
  const Matrix d_y = random_matrix(4, 5, 3);
  const auto objective = [&] {
    linear_forward(x, w, y);
    return inner(y, d_y);
  };

  linear_backward(x, w, d_y, d_x, d_w);

  EXPECT_TRUE(gradient_agrees("d_x", objective, x.flat(), d_x.flat()));
  EXPECT_TRUE(gradient_agrees("d_w", objective, w.flat(), d_w.flat()));
}

TEST(GradientCheck, NoticesAWrongEntryAndRestoresTheValues) {
  Matrix x = random_matrix(1, 6, 1);
  const Matrix before = random_matrix(1, 6, 1);
  Matrix gradient(1, 6);
  for (i64 i = 0; i < 6; ++i) gradient(0, i) = 2 * x(0, i);
  const auto squares = [](std::span<real> v) {
    double s = 0;
    for (const real a : v) s += a * a;
    return s;
  };
  EXPECT_TRUE(gradient_agrees("squares", squares, x.flat(), gradient.flat()));
  gradient(0, 4) += 1e-3;
  const auto verdict = gradient_agrees("squares", squares, x.flat(), gradient.flat());
  EXPECT_FALSE(verdict);
  EXPECT_NE(std::string(verdict.message()).find("worst entry 4"), std::string::npos) << verdict.message();
  EXPECT_TRUE(test::same_bits(x, before));
}

}  // namespace
}  // namespace pleiad::ops
