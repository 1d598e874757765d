#include "pleiad/ops/attention.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

// More queries than one block holds.
constexpr i64 k_length = 37, k_heads = 2, k_width = 8;

void check_under(const Mask& mask) {
  const RotaryTable rotary(k_length + 2, k_width / k_heads, 100.0);
  Matrix q = random_matrix(k_length, k_width, 1, 2), k = random_matrix(k_length, k_width, 2, 2),
         v = random_matrix(k_length, k_width, 3);
  const Matrix d_out = random_matrix(k_length, k_width, 4);
  Matrix turned_q(k_length, k_width), turned_k(k_length, k_width), a(k_heads * k_length, k_length),
      out(k_length, k_width);
  const auto objective = [&] {
    copy_rows(q, turned_q);
    copy_rows(k, turned_k);
    rotate(turned_q, rotary, k_heads, 2);
    rotate(turned_k, rotary, k_heads, 2);
    attention_forward(turned_q, turned_k, v, mask, k_heads, a, out);
    return inner(out, d_out);
  };
  objective();

  // Garbage in the outputs: they are overwritten.
  Matrix d_q = random_matrix(k_length, k_width, 5), d_k = random_matrix(k_length, k_width, 6),
         d_v = random_matrix(k_length, k_width, 7);
  Buffer<real> scratch;
  attention_backward(turned_q, turned_k, v, a, mask, k_heads, d_out, d_q, d_k, d_v, scratch);
  rotate_back(d_q, rotary, k_heads, 2);
  rotate_back(d_k, rotary, k_heads, 2);

  EXPECT_TRUE(gradient_agrees("d_q", objective, q.flat(), d_q.flat()));
  EXPECT_TRUE(gradient_agrees("d_k", objective, k.flat(), d_k.flat()));
  EXPECT_TRUE(gradient_agrees("d_v", objective, v.flat(), d_v.flat()));
}

TEST(AttentionGradient, Causal) {
  check_under(Mask::causal(k_length));
}
TEST(AttentionGradient, CausalWithPadding) {
  check_under(Mask::causal(21));
}
TEST(AttentionGradient, Bidirectional) {
  check_under(Mask::bidirectional(k_length));
}
TEST(AttentionGradient, BidirectionalWithPadding) {
  check_under(Mask::bidirectional(30));
}
TEST(AttentionGradient, Prefix) {
  check_under(Mask::prefix_lm(k_length, 9));
}
TEST(AttentionGradient, PrefixWithPadding) {
  check_under(Mask::prefix_lm(25, 9));
}
TEST(AttentionGradient, NothingVisible) {
  check_under(Mask::bidirectional(0));
}

}  // namespace
}  // namespace pleiad::ops
