#include "pleiad/ops/embedding.hpp"

#include "support/gradient_check.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using test::gradient_agrees, test::inner, test::random_matrix;

TEST(EmbeddingGradient, AgreesWithDifferences) {
  Matrix table = random_matrix(5, 3, 1), x(6, 3), d_table(5, 3);
  const Matrix d_x = random_matrix(6, 3, 2);
  const std::vector<std::int32_t> token = {4, 0, 4, 2, 4, 0};
  const auto objective = [&] {
    embedding_forward(token, table, x);
    return inner(x, d_x);
  };

  embedding_backward(token, d_x, d_table);

  EXPECT_TRUE(gradient_agrees("d_table", objective, table.flat(), d_table.flat()));
}

}  // namespace
}  // namespace pleiad::ops
