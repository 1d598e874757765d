#include "pleiad/ops/activation.hpp"

#include "pleiad/core/error.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits;

real value(Activation f, real a) {
  real out = 0;
  activate(f, {&a, 1}, {&out, 1});
  return out;
}

real slope(Activation f, real a) {
  const real one = 1;
  real out = 0;
  activate_backward(f, {&a, 1}, {&one, 1}, {&out, 1});
  return out;
}

TEST(Activation, NamesGoBothWays) {
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::silu})
    EXPECT_EQ(activation_from(name_of(f)), f);
  EXPECT_THROW(activation_from("tanh"), UserError);
}

TEST(Activation, KnownValues) {
  EXPECT_EQ(value(Activation::relu, -2), 0);
  EXPECT_EQ(value(Activation::relu, 3), 3);
  EXPECT_NEAR(value(Activation::gelu, 1), 0.8413447460685429, 3e-7);
  EXPECT_NEAR(value(Activation::gelu, -2), -0.04550026389635842, 3e-7);
  EXPECT_NEAR(value(Activation::silu, 1), 0.7310585786300049, 1e-7);
}

TEST(Activation, ReluIsFlatAtZero) {
  EXPECT_EQ(slope(Activation::relu, 0), 0);
  EXPECT_EQ(slope(Activation::relu, real(1e-30)), 1);
}

TEST(Activation, LargeArgumentsAreTheLimits) {
  for (const Activation f : {Activation::gelu, Activation::silu}) {
    EXPECT_EQ(value(f, 1000), 1000);
    EXPECT_EQ(value(f, -1000), 0);
    EXPECT_EQ(slope(f, 1000), 1);
    EXPECT_EQ(slope(f, -1000), 0);
  }
}

TEST(Activation, NaNStaysNaN) {
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::silu}) {
    EXPECT_TRUE(std::isnan(value(f, std::numeric_limits<real>::quiet_NaN())));
  }
}

TEST(Activation, InPlaceAndElsewhereGiveTheSameBits) {
  const i64 n = 107;
  const Matrix a = random_matrix(1, n, 1, 4), d = random_matrix(1, n, 2);
  for (const Activation f : {Activation::relu, Activation::gelu, Activation::silu}) {
    Matrix out(1, n), d_in(1, n), in_place = random_matrix(1, n, 1, 4), d_in_place = random_matrix(1, n, 2);
    activate(f, a.flat(), out.flat());
    activate_backward(f, a.flat(), d.flat(), d_in.flat());

    activate_backward(f, in_place.flat(), d_in_place.flat(), d_in_place.flat());
    activate(f, in_place.flat(), in_place.flat());

    EXPECT_TRUE(same_bits(out, in_place));
    EXPECT_TRUE(same_bits(d_in, d_in_place));
    for (const i64 i : {0, 13, 106}) {
      EXPECT_EQ(value(f, a.data()[i]), out.data()[i]) << "alone and in company";
    }
  }
}

TEST(Swiglu, IsSiluTimesUp) {
  const std::vector<real> gate = {1, -2, 0}, up = {2, 3, 5};
  std::vector<real> out(3);
  swiglu_forward(gate, up, out);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(out[i], value(Activation::silu, gate[i]) * up[i], 1e-7);
}

TEST(Swiglu, BackwardMayOverwriteItsInputs) {
  const i64 n = 53;
  const Matrix gate = random_matrix(1, n, 1, 3), up = random_matrix(1, n, 2), d_out = random_matrix(1, n, 3);
  Matrix d_gate(1, n), d_up(1, n), gate2 = random_matrix(1, n, 1, 3), up2 = random_matrix(1, n, 2);
  swiglu_backward(gate.flat(), up.flat(), d_out.flat(), d_gate.flat(), d_up.flat());
  swiglu_backward(gate2.flat(), up2.flat(), d_out.flat(), gate2.flat(), up2.flat());
  EXPECT_TRUE(same_bits(d_gate, gate2));
  EXPECT_TRUE(same_bits(d_up, up2));
}

TEST(Activation, RefusesLengthsThatDisagree) {
  std::vector<real> a(3), b(4);
  EXPECT_THROW(activate(Activation::relu, a, b), LogicError);
  EXPECT_THROW(swiglu_forward(a, a, b), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
