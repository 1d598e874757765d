#include "pleiad/ops/rows.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace pleiad::ops {
namespace {

using test::random_matrix;

TEST(Rows, EqualPlainLoopsAtEveryWidth) {
  for (const i64 n : {1, 2, 7, 8, 15, 16, 17, 31, 64, 65, 127, 128, 200, 256, 300}) {
    const Matrix x = random_matrix(5, n, 1), start = random_matrix(1, n, 2);
    double sum = 0;
    for (i64 i = 0; i < n; ++i) sum += static_cast<double>(x(0, i)) * static_cast<double>(x(1, i));
    EXPECT_NEAR(rows::dot(x.row(0), x.row(1), n), sum, 1e-5);

    Matrix y = random_matrix(1, n + 1, 2);
    y(0, n) = 77;  // nothing is written behind the row
    rows::fetch(y.data(), n);
    rows::scaled(3, x.row(0), y.data(), n);
    for (i64 i = 0; i < n; ++i) ASSERT_EQ(y(0, i), 3 * x(0, i));
    rows::axpy(real(0.7), x.row(1), y.data(), n);
    for (i64 i = 0; i < n; ++i) ASSERT_EQ(y(0, i), vec::mul_add(real(0.7), x(1, i), 3 * x(0, i)));
    std::copy_n(start.data(), n, y.data());
    rows::axpy(real(0.7), real(0.3), x.row(1), y.data(), n);
    for (i64 i = 0; i < n; ++i) ASSERT_EQ(y(0, i), vec::mul_add(real(0.7), real(0.3) * x(1, i), start(0, i)));

    const std::vector<real> factor = {1, real(-0.5), real(0.1), 2, real(0.9)};
    for (const bool add : {false, true}) {
      for (const auto& [begin, end] : {std::pair<i64, i64>{2, 2}, {1, 2}, {0, 5}}) {
        Matrix out(1, n + 1);
        std::copy_n(start.data(), n, out.data());
        out(0, n) = 77;
        rows::weighted_sum(
            begin, end, [&](i64 r) { return x.row(r); }, [&](i64 r) { return factor[static_cast<std::size_t>(r)]; }, add, out.data(), n);
        for (i64 i = 0; i < n; ++i) {
          real expected = add ? start(0, i) : 0;
          for (i64 r = begin; r < end; ++r) expected = vec::mul_add(factor[static_cast<std::size_t>(r)], x(r, i), expected);
          ASSERT_EQ(out(0, i), expected) << n;
        }
        EXPECT_EQ(out(0, n), 77);
      }
    }
    EXPECT_EQ(y(0, n), 77);
  }
}

}  // namespace
}  // namespace pleiad::ops
