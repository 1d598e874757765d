#include "pleiad/ops/sparse_linear.hpp"

#include "ops/samples.hpp"
#include "pleiad/ops/vec.hpp"

#include <gtest/gtest.h>

#include <random>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits;

TEST(SparseLinear, AddsTheEntriesInOrderAtEveryWidth) {
  for (const i64 D : {1, 7, 8, 16, 17, 64, 128, 130, 150, 257}) {
    for (const i64 T : {0, 1, 5, 40}) {
      const i64 N = 9;
      const Matrix x = random_matrix(T, D, 1), w = random_matrix(N, D, 2), factor = random_matrix(T, D, 3);
      std::mt19937 draw(static_cast<unsigned>(D));
      // Entries of another batch stand before ours; expert 8 is in none of them.
      std::vector<i64> offset{3};
      std::vector<std::int32_t> column(3, 8);
      std::vector<real> value(3, 100);
      for (i64 t = 0; t < T; ++t) {
        for (i64 i = 0; i < static_cast<i64>(draw() % 4); ++i) {
          column.push_back(static_cast<std::int32_t>(draw() % 8));
          value.push_back(static_cast<real>(draw() % 1000) / 300);
        }
        offset.push_back(static_cast<i64>(column.size()));
      }
      for (const bool with_factor : {false, true}) {
        Matrix d_x = random_matrix(T, D, 4), d_w = random_matrix(N, D, 5), expected_x = random_matrix(T, D, 4), expected_w = random_matrix(N, D, 5);
        linear_backward(x, w, {offset, column, value}, with_factor ? factor.view() : ConstMatrixView{}, d_x, d_w);
        for (i64 t = 0; t < T; ++t) {
          for (i64 j = 0; j < D; ++j) {
            real sum = 0;
            for (i64 i = offset[t]; i < offset[t + 1]; ++i) {
              sum = vec::mul_add(value[i], w(column[i], j), sum);
              expected_w(column[i], j) = vec::mul_add(value[i], x(t, j), expected_w(column[i], j));
            }
            expected_x(t, j) += with_factor ? sum * factor(t, j) : sum;
          }
        }
        EXPECT_TRUE(same_bits(d_x, expected_x)) << T << " x " << D;
        EXPECT_TRUE(same_bits(d_w, expected_w)) << T << " x " << D;
      }
    }
  }
}

}  // namespace
}  // namespace pleiad::ops
