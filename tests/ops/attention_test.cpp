#include "pleiad/ops/attention.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;

const Mask k_masks[] = {Mask::causal(70),
                        Mask::bidirectional(70),
                        Mask::bidirectional(41),
                        Mask::prefix_lm(70, 33),
                        Mask{50, 20},
                        Mask::causal(1),
                        Mask{}};

TEST(Mask, OneRuleForAll) {
  EXPECT_EQ(Mask::causal(5).visible(0), 1);
  EXPECT_EQ(Mask::causal(5).visible(4), 5);
  EXPECT_EQ(Mask::bidirectional(3).visible(0), 3);
  EXPECT_EQ(Mask::bidirectional(3).visible(7), 3);
  EXPECT_EQ(Mask::prefix_lm(9, 4).visible(1), 4);
  EXPECT_EQ(Mask::prefix_lm(9, 4).visible(6), 7);
  EXPECT_EQ(Mask::bidirectional(0).visible(2), 0);
}

TEST(Rotary, TurnsPairsHalfAHeadApart) {
  const RotaryTable table(3, 4, 100.0);  // frequencies 1 and 0.1
  Matrix x(2, 4);
  x(1, 0) = 1, x(1, 1) = 2, x(1, 2) = 3, x(1, 3) = 4;
  rotate(x, table, 1, 1);  // row 1 stands at position 2
  EXPECT_NEAR(x(1, 0), std::cos(2.0) - 3 * std::sin(2.0), 1e-6);
  EXPECT_NEAR(x(1, 2), 3 * std::cos(2.0) + std::sin(2.0), 1e-6);
  EXPECT_NEAR(x(1, 1), 2 * std::cos(0.2) - 4 * std::sin(0.2), 1e-6);
  EXPECT_NEAR(x(1, 3), 4 * std::cos(0.2) + 2 * std::sin(0.2), 1e-6);
}

TEST(Rotary, PositionZeroIsLeftAloneAndBackUndoesForth) {
  const RotaryTable table(8, 6, 10000.0);
  const Matrix x = random_matrix(8, 12, 1);
  Matrix y = random_matrix(8, 12, 1);
  rotate(y, table, 2);
  EXPECT_TRUE(same_bits(y.view().row_range(0, 1), x.view().row_range(0, 1)));
  EXPECT_FALSE(same_bits(y, x));
  rotate_back(y, table, 2);
  for (i64 i = 0; i < 96; ++i) EXPECT_NEAR(y.data()[i], x.data()[i], 1e-6);
}

TEST(Rotary, RefusesOddHeadsAndForeignPositions) {
  EXPECT_THROW(RotaryTable(4, 3, 10000.0), LogicError);
  const RotaryTable table(4, 2, 10000.0);
  Matrix x(3, 4), wrong(3, 3);
  EXPECT_NO_THROW(rotate(x, table, 2, 1));
  EXPECT_THROW(rotate(x, table, 2, 2), LogicError);
  EXPECT_THROW(rotate(wrong, table, 2), LogicError);
}

TEST(Attention, TwoTokensByHand) {
  Matrix q(2, 1), k(2, 1), v(2, 1), a(2, 2), out(2, 1);
  q(1, 0) = 1;
  k(0, 0) = std::log(real(3));
  v(0, 0) = 1, v(1, 0) = 5;

  attention_forward(q, k, v, Mask::causal(2), 1, a, out);

  EXPECT_EQ(a(0, 0), 1);
  EXPECT_EQ(a(0, 1), 0);
  EXPECT_NEAR(a(1, 0), 0.75, 1e-6);
  EXPECT_NEAR(a(1, 1), 0.25, 1e-6);
  EXPECT_EQ(out(0, 0), 1);
  EXPECT_NEAR(out(1, 0), 2, 1e-6);
}

TEST(Attention, AgreesWithPlainLoopsUnderEveryMask) {
  const i64 L = 70, H = 2, dh = 6, D = H * dh;
  const Matrix q = random_matrix(L, D, 1, 2), k = random_matrix(L, D, 2, 2), v = random_matrix(L, D, 3);
  for (const Mask& mask : k_masks) {
    Matrix a = random_matrix(H * L, L, 4), out = random_matrix(L, D, 5);
    attention_forward(q, k, v, mask, H, a, out);
    for (i64 h = 0; h < H; ++h) {
      for (i64 i = 0; i < L; ++i) {
        std::vector<double> e(L, 0.0), sum(dh, 0.0);
        double total = 0;
        for (i64 j = 0; j < mask.visible(i); ++j) {
          double s = 0;
          for (i64 c = h * dh; c < (h + 1) * dh; ++c) s += static_cast<double>(q(i, c)) * static_cast<double>(k(j, c));
          total += e[std::size_t(j)] = std::exp(s / std::sqrt(6.0));
        }
        for (i64 j = 0; j < L; ++j) {
          const double weight = total > 0 ? e[std::size_t(j)] / total : 0;
          ASSERT_NEAR(a(h * L + i, j), weight, 2e-6);
          if (j >= mask.visible(i)) {
            ASSERT_EQ(a(h * L + i, j), 0);
          }
          for (i64 c = 0; c < dh; ++c) sum[std::size_t(c)] += weight * static_cast<double>(v(j, h * dh + c));
        }
        for (i64 c = 0; c < dh; ++c) ASSERT_NEAR(out(i, h * dh + c), sum[std::size_t(c)], 3e-6);
      }
    }
  }
}

TEST(Attention, NothingVisibleGivesZerosBothWays) {
  const Matrix x = random_matrix(5, 4, 1);
  Matrix a(10, 5), out = random_matrix(5, 4, 2), d_q = random_matrix(5, 4, 3), d_k = random_matrix(5, 4, 4),
                   d_v = random_matrix(5, 4, 5);
  Buffer<real> scratch;
  attention_forward(x, x, x, Mask::bidirectional(0), 2, a, out);
  attention_backward(x, x, x, a, Mask::bidirectional(0), 2, x, d_q, d_k, d_v, scratch);
  for (const Matrix* m : {&out, &d_q, &d_k, &d_v}) {
    for (const real y : m->flat()) EXPECT_EQ(y, 0);
  }
}

TEST(Attention, LaterTokensDoNotTouchEarlierOutputs) {
  const i64 L = 70, D = 8;
  const Matrix x = random_matrix(L, D, 1);
  Matrix changed = random_matrix(L, D, 1), a(2 * L, L), out(L, D), a2(2 * L, L), out2(L, D);
  for (i64 i = 45; i < L; ++i) {
    for (i64 j = 0; j < D; ++j) changed(i, j) += 3;
  }
  attention_forward(x, x, x, Mask::causal(L), 2, a, out);
  attention_forward(changed, changed, changed, Mask::causal(L), 2, a2, out2);
  EXPECT_TRUE(same_bits(out.view().row_range(0, 45), out2.view().row_range(0, 45)));
  EXPECT_FALSE(same_bits(out.view().row_range(45, 1), out2.view().row_range(45, 1)));
}

TEST(Attention, SameBitsAtAnyAddressAndStride) {
  const i64 L = 70, H = 2, D = 12;
  const Matrix q = random_matrix(L, D, 1), k = random_matrix(L, D, 2), v = random_matrix(L, D, 3),
               d = random_matrix(L, D, 4);
  for (const Mask& mask : k_masks) {
    Matrix a(H * L, L), out(L, D), d_q(L, D), d_k(L, D), d_v(L, D);
    Buffer<real> scratch;
    attention_forward(q, k, v, mask, H, a, out);
    attention_backward(q, k, v, a, mask, H, d, d_q, d_k, d_v, scratch);

    Shifted q2(q, 1), k2(k, 2), v2(v, 3), d2(d, 4), a2(Matrix(H * L, L).view(), 5), out2(Matrix(L, D).view(), 6);
    Shifted d_q2(Matrix(L, D).view(), 7), d_k2(Matrix(L, D).view(), 9), d_v2(Matrix(L, D).view(), 11);
    attention_forward(q2.view(), k2.view(), v2.view(), mask, H, a2.view(), out2.view());
    attention_backward(q2.view(), k2.view(), v2.view(), a2.view(), mask, H, d2.view(), d_q2.view(), d_k2.view(),
                       d_v2.view(), scratch);

    EXPECT_TRUE(same_bits(a, a2.view()));
    EXPECT_TRUE(same_bits(out, out2.view()));
    EXPECT_TRUE(same_bits(d_q, d_q2.view()));
    EXPECT_TRUE(same_bits(d_k, d_k2.view()));
    EXPECT_TRUE(same_bits(d_v, d_v2.view()));
  }
}

TEST(Attention, RefusesShapesThatDisagree) {
  Matrix x(4, 6), a(8, 4), out(4, 6), small(4, 4);
  EXPECT_THROW(attention_forward(x, x, x, Mask::causal(4), 4, a, out), LogicError);
  EXPECT_THROW(attention_forward(x, x, x, Mask::causal(5), 2, a, out), LogicError);
  EXPECT_THROW(attention_forward(x, x, x, Mask::causal(4), 2, small, out), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
