#include "pleiad/ops/scattered.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include "pleiad/ops/wide.hpp"

namespace pleiad::ops {
namespace {

using test::random_matrix;

/// Rows of m in another order, the last of them twice.
std::vector<std::int32_t> some_rows(i64 rows) {
  std::vector<std::int32_t> number;
  for (i64 r = 0; r < rows; ++r) number.push_back(static_cast<std::int32_t>((r * 7 + 3) % (rows + 2)));
  number.back() = number.front();
  return number;
}

TEST(Scattered, IsOneChainOfMultiplyAddsOverRowsThatLieAnywhere) {
  for (const i64 m : {1, 2, 5, 12, 13, 31}) {
    for (const i64 vectors : {1, 2, 4, 7}) {
      for (const i64 k : {1, 16, 21, 40}) {
        const i64 n = vectors * k_wide;
        const Matrix a = random_matrix(m + 2, k, 1), a_turned = random_matrix(k + 2, m, 2), b = random_matrix(k + 2, n, 3), old = random_matrix(m + 2, n, 4), factor = random_matrix(1, m, 5);
        const std::vector<std::int32_t> of_a = some_rows(m), of_b = some_rows(k), of_c = some_rows(m);
        RowTable<const real> a_rows, b_rows, soon;
        RowTable<real> c_rows;
        for (const Trans ta : {Trans::no, Trans::yes}) {
          for (const int how : {0, 1, 2, 3}) {  // written, written while others are fetched, added, added with factors
            Matrix c = random_matrix(m + 2, n, 4), expected = random_matrix(m + 2, n, 4);
            const RowsAt<const real> left = ta == Trans::no ? a_rows.some_of(of_a, a.view()) : a_rows.some_of(of_b, a_turned.view());
            Sums sums{how >= 2, how == 3 ? factor.data() : nullptr};
            if (how == 1) sums.meanwhile = soon.some_of(of_a, a.view(), a.view());
            multiply_scattered(ta, left, b_rows.some_of(of_b, b.view()), n, c_rows.some_of(of_c, c.view()), sums);
            for (i64 i = 0; i < m; ++i) {
              for (i64 j = 0; j < n; ++j) {
                real sum = 0;
                for (i64 p = 0; p < k; ++p) {
                  const real x = ta == Trans::no ? a(of_a[static_cast<std::size_t>(i)], p) : a_turned(of_b[static_cast<std::size_t>(p)], i);
                  sum = vec::mul_add(x, b(of_b[static_cast<std::size_t>(p)], j), sum);
                }
                real& to = expected(of_c[static_cast<std::size_t>(i)], j);
                to = how < 2 ? sum : vec::mul_add(how == 3 ? factor(0, i) : real(1), sum, to);
              }
            }
            ASSERT_TRUE(test::same_bits(c, expected)) << m << " x " << n << " x " << k << ", " << how;
          }
        }
      }
    }
  }
}

TEST(Scattered, CountsAmongTheProducts) {
  const Matrix a = random_matrix(3, 4, 1), b = random_matrix(4, k_wide, 2);
  Matrix c(3, k_wide);
  RowTable<const real> a_rows, b_rows;
  RowTable<real> c_rows;
  const ProductTotals before = product_totals();
  multiply_scattered(Trans::no, a_rows.all_of(a.view()), b_rows.all_of(b.view()), k_wide, c_rows.all_of(c.view()));
  EXPECT_EQ(product_totals().calls, before.calls + 1);
  EXPECT_EQ(product_totals().flops, before.flops + 2.0 * 3 * 4 * k_wide);
  EXPECT_THROW(multiply_scattered(Trans::no, a_rows.all_of(a.view()), b_rows.all_of(b.view()), k_wide - 1, c_rows.all_of(c.view())), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
