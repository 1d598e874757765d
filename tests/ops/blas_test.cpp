#include "pleiad/ops/blas.hpp"

#include "ops/samples.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace pleiad::ops {
namespace {

using test::random_matrix, test::same_bits, test::Shifted;

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

TEST(Gemm, MultipliesTwoByTwoByHand) {
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

TEST(Gemm, AgreesWithThreeLoopsForAllTransposes) {
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

TEST(Gemm, GivesTheSameBitsAtAnyAddressAndStride) {
  const Matrix a = random_matrix(37, 29, 3), b = random_matrix(23, 29, 4);
  Matrix c(37, 23);
  Shifted a_moved(a), b_moved(b), c_moved(c);

  gemm(Trans::no, Trans::yes, 1, a, b, 0, c);
  gemm(Trans::no, Trans::yes, 1, a_moved.view(), b_moved.view(), 0, c_moved.view());

  EXPECT_TRUE(same_bits(c, c_moved.view()));
}

TEST(Gemm, WithoutInnerExtentOnlyScales) {
  Matrix a(2, 0), b(0, 2), c(2, 2);
  for (real& x : c.flat()) x = 3;

  gemm(Trans::no, Trans::no, 1, a, b, real(0.5), c);
  EXPECT_EQ(c(1, 1), real(1.5));

  c(0, 1) = k_nan;
  gemm(Trans::no, Trans::no, 1, a, b, 0, c);
  EXPECT_EQ(c(0, 1), 0);
}

TEST(Gemm, BetaZeroForgetsNaN) {
  for (const i64 n : {1, 5, 40, 200}) {
    const Matrix a = random_matrix(n, n, 5), b = random_matrix(n, n, 6);
    Matrix c(n, n);
    for (real& x : c.flat()) x = k_nan;

    gemm(Trans::no, Trans::yes, 1, a, b, 0, c);

    for (const real x : c.flat()) ASSERT_FALSE(std::isnan(x)) << n;
  }
}

TEST(Gemm, AcceptsNoRowsAndNoColumns) {
  Matrix none(0, 3), b(3, 2), c(0, 2);
  EXPECT_NO_THROW(gemm(Trans::no, Trans::no, 1, none, b, 0, c));
  EXPECT_NO_THROW(gemm(Trans::no, Trans::no, 1, MatrixView(nullptr, 0, 3), b, 0, MatrixView(nullptr, 0, 2)));
}

TEST(Gemm, RefusesShapesThatDisagree) {
  Matrix a(2, 3), b(2, 3), c(2, 2);
  EXPECT_THROW(gemm(Trans::no, Trans::no, 1, a, b, 0, c), LogicError);
  EXPECT_THROW(gemm(Trans::no, Trans::yes, 1, a, b, 0, a), LogicError);
}

TEST(Gemm, RefusesExtentsBeyondTheLibrary) {
  const i64 huge = i64(1) << 40;
  real x = 0;
  EXPECT_THROW(gemm(Trans::no, Trans::no, 1, {&x, huge, 1}, {&x, 1, 1}, 0, {&x, huge, 1}), LogicError);
}

TEST(Blas, DescribesItself) {
  set_blas_threads(1);
  EXPECT_NE(blas_description().find("1 thread"), std::string::npos) << blas_description();
  EXPECT_THROW(set_blas_threads(0), LogicError);
}

}  // namespace
}  // namespace pleiad::ops
