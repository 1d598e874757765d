#include "pleiad/ops/gemm.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;

/// Every test of Gemm runs with each library of this build.
class Gemm : public testing::TestWithParam<Library> {
 protected:
  void SetUp() override { choose_library(GetParam()); }
  void TearDown() override { choose_library(before_); }

 private:
  Library before_ = chosen_library();
};

std::vector<Library> libraries() {
  std::vector<Library> all{Library::openblas};
  if (library_available(Library::onednn)) all.push_back(Library::onednn);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Libraries, Gemm, testing::ValuesIn(libraries()), [](const auto& library) { return std::string(library_name(library.param)); });

constexpr real k_nan = std::numeric_limits<real>::quiet_NaN();

Matrix reference(Trans ta, Trans tb, ConstMatrixView a, ConstMatrixView b) {
  const i64 m = ta == Trans::no ? a.rows : a.cols, k = ta == Trans::no ? a.cols : a.rows,
            n = tb == Trans::no ? b.cols : b.rows;
  Matrix c(m, n);
  for (i64 i = 0; i < m; ++i) {
    for (i64 j = 0; j < n; ++j) {
      double s = 0;
      for (i64 p = 0; p < k; ++p) {
        s += static_cast<double>(ta == Trans::no ? a(i, p) : a(p, i)) *
             static_cast<double>(tb == Trans::no ? b(p, j) : b(j, p));
      }
      c(i, j) = static_cast<real>(s);
    }
  }
  return c;
}

TEST_P(Gemm, MultipliesTwoByTwoByHand) {
  Matrix a(2, 2), b(2, 2), c(2, 2);
  a(0, 0) = 1, a(0, 1) = 2, a(1, 0) = 3, a(1, 1) = 4;
  b(0, 0) = 5, b(0, 1) = 6, b(1, 0) = 7, b(1, 1) = 8;
  c(0, 0) = 100;

  gemm(Trans::no, Trans::no, 2, a, b, 1, c);

  EXPECT_EQ(c(0, 0), 138);
  EXPECT_EQ(c(0, 1), 44);
  EXPECT_EQ(c(1, 0), 86);
  EXPECT_EQ(c(1, 1), 100);
}

TEST_P(Gemm, AgreesWithThreeLoopsForAllTransposes) {
  for (const Trans ta : {Trans::no, Trans::yes}) {
    for (const Trans tb : {Trans::no, Trans::yes}) {
      const Matrix a = ta == Trans::no ? random_matrix(19, 33, 1) : random_matrix(33, 19, 1);
      const Matrix b = tb == Trans::no ? random_matrix(33, 7, 2) : random_matrix(7, 33, 2);
      Matrix c(19, 7);

      gemm(ta, tb, 1, a, b, 0, c);

      const Matrix expected = reference(ta, tb, a, b);
      for (i64 i = 0; i < c.rows() * c.cols(); ++i) EXPECT_NEAR(c.data()[i], expected.data()[i], 1e-5);
    }
  }
}

TEST_P(Gemm, GivesTheSameBitsAtAnyAddressAndStride) {
  const Matrix a = random_matrix(37, 29, 3), b = random_matrix(23, 29, 4);
  Matrix c(37, 23);
  Shifted a_moved(a), b_moved(b), c_moved(c);

  gemm(Trans::no, Trans::yes, 1, a, b, 0, c);
  gemm(Trans::no, Trans::yes, 1, a_moved.view(), b_moved.view(), 0, c_moved.view());

  EXPECT_TRUE(same_bits(c, c_moved.view()));
}

TEST_P(Gemm, WithoutInnerExtentOnlyScales) {
  Matrix a(2, 0), b(0, 2), c(2, 2);
  for (real& x : c.flat()) x = 3;

  gemm(Trans::no, Trans::no, 1, a, b, real(0.5), c);
  EXPECT_EQ(c(1, 1), real(1.5));

  c(0, 1) = k_nan;
  gemm(Trans::no, Trans::no, 1, a, b, 0, c);
  EXPECT_EQ(c(0, 1), 0);
}

TEST_P(Gemm, BetaZeroForgetsNaN) {
  for (const i64 n : {1, 5, 40, 200}) {
    const Matrix a = random_matrix(n, n, 5), b = random_matrix(n, n, 6);
    Matrix c(n, n);
    for (real& x : c.flat()) x = k_nan;

    gemm(Trans::no, Trans::yes, 1, a, b, 0, c);

    for (const real x : c.flat()) ASSERT_FALSE(std::isnan(x)) << n;
  }
}

/// The product of one row and 8 of `columns` numbers in a process of its own, which made others before: into rows that lie `strides` numbers apart.
std::vector<real> one_row_after(std::vector<i64> strides, i64 columns) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  const Matrix a = random_matrix(1, columns, 9), b = random_matrix(8, columns, 10);
  std::vector<real> c(8);
  const std::size_t bytes = c.size() * sizeof(real);
  if (child == 0) {
    for (const i64 stride : strides) gemm(Trans::no, Trans::yes, 1, a, b, 0, MatrixView(c.data(), 1, 8, stride));
    _exit(write(ends[1], c.data(), bytes) == static_cast<ssize_t>(bytes) ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(read(ends[0], c.data(), bytes), static_cast<ssize_t>(bytes));
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(ends[0]), close(ends[1]);
  return c;
}

// A run that tries a step for its memory makes products in another order than one that does not.
TEST_P(Gemm, BitsDoNotDependOnWhatWasMultipliedBefore) {
  for (const i64 columns : {24, 32, 100}) {
    EXPECT_EQ(one_row_after({8}, columns), one_row_after({552, 8}, columns)) << columns;
    EXPECT_EQ(one_row_after({552}, columns), one_row_after({8, 552}, columns)) << columns;
  }
}

TEST_P(Gemm, AcceptsNoRowsAndNoColumns) {
  Matrix none(0, 3), b(3, 2), c(0, 2);
  EXPECT_NO_THROW(gemm(Trans::no, Trans::no, 1, none, b, 0, c));
  EXPECT_NO_THROW(gemm(Trans::no, Trans::no, 1, MatrixView(nullptr, 0, 3), b, 0, MatrixView(nullptr, 0, 2)));
}

TEST_P(Gemm, RefusesShapesThatDisagree) {
  Matrix a(2, 3), b(2, 3), c(2, 2);
  EXPECT_THROW(gemm(Trans::no, Trans::no, 1, a, b, 0, c), LogicError);
  EXPECT_THROW(gemm(Trans::no, Trans::yes, 1, a, b, 0, a), LogicError);
}

TEST_P(Gemm, RefusesExtentsBeyondTheLibrary) {
  const i64 huge = i64(1) << 40;
  real x = 0;
  EXPECT_THROW(gemm(Trans::no, Trans::no, 1, {&x, huge, 1}, {&x, 1, 1}, 0, {&x, huge, 1}), LogicError);
}

TEST(Products, DescribeThemselves) {
  set_product_threads(1);
  EXPECT_NE(products_description().find("1 thread"), std::string::npos) << products_description();
  EXPECT_NE(products_description().find(library_name(chosen_library())), std::string::npos);
  EXPECT_THROW(set_product_threads(0), LogicError);
}

TEST(Products, MoreThreadsThanProcessorsAreRemarked) {
  set_product_threads(1);
  EXPECT_EQ(threads_remark(), "");
  set_product_threads(1000);
  EXPECT_NE(threads_remark().find("parallel.blas_threads = 1000: this machine has "), std::string::npos);
  set_product_threads(1);
}

TEST(Products, AreCounted) {
  const Matrix a = random_matrix(3, 5, 7), b = random_matrix(5, 4, 8);
  Matrix c(3, 4);
  const ProductTotals before = product_totals();

  gemm(Trans::no, Trans::no, 1, a, b, 0, c);

  EXPECT_EQ(product_totals().flops - before.flops, 2.0 * 3 * 5 * 4);
  EXPECT_EQ(product_totals().calls - before.calls, 1);
  EXPECT_GT(product_totals().seconds, before.seconds);
}

#ifndef PLEIAD_DOUBLE
TEST(Bf16, RoundsToNearestEvenAndKeepsNaN) {
  const float eps = 1.0f / 128;  // 8 bits of precision
  EXPECT_EQ(to_float(to_bf16(1.0f)), 1.0f);
  EXPECT_EQ(to_float(to_bf16(1.0f + eps / 2)), 1.0f);            // half way, down to even
  EXPECT_EQ(to_float(to_bf16(1.0f + 3 * eps / 2)), 1.0f + 2 * eps);  // half way, up to even
  EXPECT_EQ(to_float(to_bf16(-1.0f - 0.6f * eps)), -1.0f - eps);
  EXPECT_TRUE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff80ffffu}) EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(bits)))));
}

TEST(Bf16, ProductsAreThoseOfTheRoundedNumbers) {
  if (!bf16_missing().empty()) GTEST_SKIP() << bf16_missing();
  for (const Trans ta : {Trans::no, Trans::yes}) {
    for (const Trans tb : {Trans::no, Trans::yes}) {
      for (const bool add : {false, true}) {
        Matrix a = ta == Trans::no ? random_matrix(19, 34, 1) : random_matrix(34, 19, 1);
        Matrix b = tb == Trans::no ? random_matrix(34, 7, 2) : random_matrix(7, 34, 2);
        Matrix c(19, 7);
        for (real& x : c.flat()) x = add ? 2 : k_nan;
        Buffer<bf16> a16(a.rows() * a.cols()), b16(b.rows() * b.cols());
        to_factors(a.data(), a16.data(), a16.size());
        to_factors(b.data(), b16.data(), b16.size());
        for (i64 i = 0; i < a16.size(); ++i) a.data()[i] = to_float(a16[i]);
        for (i64 i = 0; i < b16.size(); ++i) b.data()[i] = to_float(b16[i]);

        gemm_bf16(ta, tb, {a16.data(), a.rows(), a.cols()}, {b16.data(), b.rows(), b.cols()}, add, c);

        const Matrix expected = reference(ta, tb, a, b);
        for (i64 i = 0; i < c.rows() * c.cols(); ++i) ASSERT_NEAR(c.data()[i], expected.data()[i] + (add ? 2 : 0), 1e-4);
      }
    }
  }
}
#endif

}  // namespace
}  // namespace pleiad::ops
