#include "pleiad/ops/rms_norm.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

TEST(RmsNormGradient, AgreesWithDifferences) {
  for (const i64 D : {1, 7, 24}) {
    Matrix x = random_matrix(4, D, 1), w = random_matrix(1, D, 2), y(4, D), d_x(4, D), d_w(1, D);
    const Matrix d_y = random_matrix(4, D, 3);
    std::vector<real> inv_rms(4);
    const auto objective = [&] {
      rms_norm_forward(x, w, 1e-2, y, inv_rms);
      return inner(y, d_y);
    };
    objective();

    rms_norm_backward(x, w, inv_rms, d_y, d_x, d_w);

    EXPECT_TRUE(gradient_agrees("d_x", objective, x.flat(), d_x.flat()));
    EXPECT_TRUE(gradient_agrees("d_weight", objective, w.flat(), d_w.flat()));
  }
}

}  // namespace
}  // namespace pleiad::ops
