#include "pleiad/ops/cross_entropy.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::random_matrix;

TEST(CrossEntropyGradient, AgreesWithDifferencesAlsoForIgnoredRows) {
  Matrix z = random_matrix(4, 9, 1, 3), log_p(4, 9), d_z(4, 9);
  const std::vector<std::int32_t> target = {3, -1, 8, 0};
  std::vector<double> loss(4);
  const auto objective = [&] {
    cross_entropy_forward(z, target, log_p, loss);
    return 0.7 * (loss[0] + loss[1] + loss[2] + loss[3]);
  };
  objective();

  cross_entropy_backward(log_p, target, 0.7, d_z);

  EXPECT_TRUE(gradient_agrees("d_logits", objective, z.flat(), d_z.flat()));
}

}  // namespace
}  // namespace pleiad::ops
