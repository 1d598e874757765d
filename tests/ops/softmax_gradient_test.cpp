#include "pleiad/ops/softmax.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

TEST(SoftmaxGradient, AgreesWithDifferences) {
  for (const i64 N : {1, 5, 19}) {
    Matrix z = random_matrix(3, N, 1, 3), p(3, N), d_z(3, N);
    const Matrix d_p = random_matrix(3, N, 2);
    const auto objective = [&] {
      softmax_rows(z, p, {});
      return inner(p, d_p);
    };
    objective();

    softmax_backward_rows(p, d_p, d_z);

    EXPECT_TRUE(gradient_agrees("d_z", objective, z.flat(), d_z.flat()));
  }
}

TEST(SoftmaxGradient, OfTheLogarithmOfTheSumIsTheProbability) {
  Matrix z = random_matrix(3, 6, 1, 3), p(3, 6), scratch(3, 6);
  std::vector<real> log_sum_exp(3);
  softmax_rows(z, p, {});
  const auto objective = [&] {
    softmax_rows(z, scratch, log_sum_exp);
    return log_sum_exp[0] + log_sum_exp[1] + log_sum_exp[2];
  };
  EXPECT_TRUE(gradient_agrees("log_sum_exp", objective, z.flat(), p.flat()));
}

}  // namespace
}  // namespace pleiad::ops
