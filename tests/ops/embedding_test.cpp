#include "pleiad/ops/embedding.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(Embedding, LooksUpRows) {
  const Matrix table = test::random_matrix(4, 3, 1);
  Matrix x(3, 3);
  embedding_forward(Tokens{2, 0, 2}, table, x);
  EXPECT_TRUE(test::same_bits(x.view().row_range(0, 1), table.view().row_range(2, 1)));
  EXPECT_TRUE(test::same_bits(x.view().row_range(1, 1), table.view().row_range(0, 1)));
  EXPECT_TRUE(test::same_bits(x.view().row_range(2, 1), table.view().row_range(2, 1)));
}

TEST(Embedding, RepeatedTokensAddUp) {
  Matrix d_x(3, 1), d_table(4, 1);
  d_x(0, 0) = 1, d_x(1, 0) = 10, d_x(2, 0) = 100;
  d_table(2, 0) = 1000;
  embedding_backward(Tokens{2, 0, 2}, d_x, d_table);
  EXPECT_EQ(d_table(2, 0), 1101);
  EXPECT_EQ(d_table(0, 0), 10);
  EXPECT_EQ(d_table(1, 0), 0);
}

TEST(Embedding, RefusesForeignTokens) {
  Matrix table(4, 3), x(1, 3);
  EXPECT_THROW(embedding_forward(Tokens{4}, table, x), LogicError);
  EXPECT_THROW(embedding_forward(Tokens{-1}, table, x), LogicError);
  EXPECT_THROW(embedding_forward(Tokens{1, 1}, table, x), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
