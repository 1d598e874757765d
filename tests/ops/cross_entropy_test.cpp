#include "pleiad/ops/cross_entropy.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;
using Targets = std::vector<std::int32_t>;

TEST(CrossEntropy, ByHand) {
  Matrix z(2, 2), log_p(2, 2), d(2, 2);
  z(0, 0) = std::log(real(3));
  std::vector<double> loss(2);
  const Targets target = {1, -1};

  cross_entropy_forward(z, target, log_p, loss);
  cross_entropy_backward(log_p, target, 2, d);

  EXPECT_NEAR(loss[0], std::log(4.0), 1e-7);
  EXPECT_EQ(loss[1], 0);
  EXPECT_NEAR(log_p(0, 0), std::log(0.75), 1e-6);
  EXPECT_NEAR(d(0, 0), 1.5, 1e-6);
  EXPECT_NEAR(d(0, 1), -1.5, 1e-6);
  EXPECT_EQ(d(1, 0), 0);
  EXPECT_EQ(d(1, 1), 0);
}

TEST(CrossEntropy, ExtremeLogitsStayFinite) {
  Matrix z(2, 3), log_p(2, 3);
  z(0, 0) = 1e5f, z(1, 0) = -1e5f, z(1, 1) = z(1, 2) = -1e5f;
  std::vector<double> loss(2);
  cross_entropy_forward(z, Targets{1, 2}, log_p, loss);
  EXPECT_EQ(loss[0], 1e5);
  EXPECT_NEAR(loss[1], std::log(3.0), 1e-7);
}

TEST(CrossEntropy, InPlaceAloneAndElsewhereGiveTheSameBits) {
  for (const i64 V : {1, 5, 300}) {
    const Matrix z = random_matrix(5, V, 1, 5);
    const Targets target = {0, static_cast<std::int32_t>(V - 1), -1, static_cast<std::int32_t>(V / 2), 0};
    Matrix log_p(5, V), d(5, V);
    std::vector<double> loss(5), loss_alone(1);
    cross_entropy_forward(z, target, log_p, loss);
    cross_entropy_backward(log_p, target, real(0.3), d);

    Shifted one(z.view().row_range(3, 1));
    const Targets its_target = {target[3]};
    cross_entropy_forward(one.view(), its_target, one.view(), loss_alone);
    EXPECT_EQ(loss_alone[0], loss[3]);
    EXPECT_TRUE(same_bits(one.view(), log_p.view().row_range(3, 1)));
    cross_entropy_backward(one.view(), its_target, real(0.3), one.view());
    EXPECT_TRUE(same_bits(one.view(), d.view().row_range(3, 1)));
  }
}

TEST(CrossEntropy, RefusesForeignTargets) {
  Matrix z(1, 3), log_p(1, 3);
  std::vector<double> loss(1);
  EXPECT_THROW(cross_entropy_forward(z, Targets{3}, log_p, loss), LogicError);
  EXPECT_THROW(cross_entropy_forward(z, Targets{-2}, log_p, loss), LogicError);
  EXPECT_THROW(cross_entropy_backward(log_p, Targets{0, 1}, 1, z), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
