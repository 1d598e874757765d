#include "pleiad/ops/linear.hpp"

#include <gtest/gtest.h>

namespace pleiad::ops {
namespace {

struct Small {
  Matrix x{1, 2}, w{3, 2}, y{1, 3};
  Small() {
    x(0, 0) = 1, x(0, 1) = 2;
    for (i64 o = 0; o < 3; ++o) w(o, 0) = real(o), w(o, 1) = real(10 * o);
  }
};

TEST(Linear, ForwardByHand) {
  Small s;
  linear_forward(s.x, s.w, s.y);
  EXPECT_EQ(s.y(0, 0), 0);
  EXPECT_EQ(s.y(0, 1), 21);
  EXPECT_EQ(s.y(0, 2), 42);
}

TEST(Linear, BackwardOverwritesInputAndAddsToWeightGradient) {
  Small s;
  Matrix d_y(1, 3), d_x(1, 2), d_w(3, 2);
  d_y(0, 1) = 1, d_y(0, 2) = 2;
  d_x(0, 0) = 99;
  d_w(2, 1) = 100;

  linear_backward(s.x, s.w, d_y, d_x, d_w);

  EXPECT_EQ(d_x(0, 0), 5);
  EXPECT_EQ(d_x(0, 1), 50);
  EXPECT_EQ(d_w(2, 1), 104);
  EXPECT_EQ(d_w(1, 0), 1);

  linear_backward(s.x, s.w, d_y, d_x, MatrixView(), true);
  EXPECT_EQ(d_x(0, 1), 100);
  EXPECT_EQ(d_w(2, 1), 104);

  linear_backward(s.x, s.w, d_y, MatrixView(), d_w);
  EXPECT_EQ(d_w(2, 1), 108);
}

TEST(Linear, NoRowsLeaveTheWeightGradientAlone) {
  Small s;
  Matrix x(0, 2), y(0, 3), d_x(0, 2), d_w(3, 2);
  d_w(1, 1) = 7;
  linear_forward(x, s.w, y);
  linear_backward(x, s.w, y, d_x, d_w);
  EXPECT_EQ(d_w(1, 1), 7);
}

TEST(Linear, RefusesShapesThatDisagree) {
  Small s;
  Matrix wrong(1, 4);
  EXPECT_THROW(linear_forward(s.x, s.w, wrong), LogicError);
  EXPECT_THROW(linear_backward(s.x, s.w, s.y, wrong, MatrixView()), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
