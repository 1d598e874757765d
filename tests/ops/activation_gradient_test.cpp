#include "pleiad/ops/activation.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <string>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

TEST(ActivationGradient, AgreesWithDifferences) {
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::silu}) {
    Matrix a = random_matrix(1, 40, 1, 5), out(1, 40), d_a(1, 40);
    const Matrix d_out = random_matrix(1, 40, 2);
    const auto objective = [&] {
      activate(f, a.flat(), out.flat());
      return inner(out, d_out);
    };

    activate_backward(f, a.flat(), d_out.flat(), d_a.flat());

    EXPECT_TRUE(gradient_agrees(std::string(name_of(f)), objective, a.flat(), d_a.flat()));
  }
}

TEST(SwigluGradient, AgreesWithDifferences) {
  Matrix gate = random_matrix(1, 40, 1, 5), up = random_matrix(1, 40, 2, 2), out(1, 40), d_gate(1, 40), d_up(1, 40);
  const Matrix d_out = random_matrix(1, 40, 3);
  const auto objective = [&] {
    swiglu_forward(gate.flat(), up.flat(), out.flat());
    return inner(out, d_out);
  };

  swiglu_backward(gate.flat(), up.flat(), d_out.flat(), d_gate.flat(), d_up.flat());

  EXPECT_TRUE(gradient_agrees("d_gate", objective, gate.flat(), d_gate.flat()));
  EXPECT_TRUE(gradient_agrees("d_up", objective, up.flat(), d_up.flat()));
}

}  // namespace
}  // namespace pleiad::ops
