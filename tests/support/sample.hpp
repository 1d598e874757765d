// Made-up numbers for tests: functions of a seed and an index, so every rank can make the whole global problem and its own part
// of it. Also what most distributed tests compare with: the same bits. Read next: alone.hpp.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "pleiad/core/lanes.hpp"
#include "pleiad/core/matrix.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::test {

/// Normal numbers times `scale`, the same for the same seed.
inline void fill_normal(std::span<real> out, std::uint64_t seed, double scale = 1) {
  const Stream draw(seed, Purpose::test);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<real>(scale * draw.normal(i));
}

inline Matrix normal_matrix(i64 rows, i64 cols, std::uint64_t seed, double scale = 1) {
  Matrix m(rows, cols);
  fill_normal(m.flat(), seed, scale);
  return m;
}

/// Rows begin .. begin+count-1 as a matrix of their own.
inline Matrix rows_of(ConstMatrixView all, i64 begin, i64 count) {
  Matrix part(count, all.cols);
  copy_rows(all.row_range(begin, count), part);
  return part;
}

/// What this rank holds of a matrix over all tokens.
inline Matrix my_rows(ConstMatrixView all, const LaneLayout& lanes) { return rows_of(all, lanes.first_token(), lanes.my_tokens()); }

/// The entries of tokens begin .. begin+count-1.
inline routing::Assignment tokens_of(const routing::Assignment& a, i64 begin, i64 count) {
  routing::Assignment part;
  part.experts = a.experts;
  for (i64 t = begin; t < begin + count; ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      part.expert.push_back(a.expert[i]);
      part.weight.push_back(a.weight[i]);
      part.kept.push_back(a.kept[i]);
    }
    part.offset.push_back(part.entries());
  }
  return part;
}

/// Success if both hold the same numbers bit by bit (so NaN equals NaN and 0 differs from -0); else says where they part.
template <class T>
testing::AssertionResult same_bits(std::span<const T> a, std::span<const T> b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << a.size() << " numbers against " << b.size();
  std::size_t different = 0, first = 0;
  for (std::size_t i = a.size(); i-- > 0;) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) first = i, ++different;
  }
  if (different == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << different << " of " << a.size() << " numbers differ, first at " << first << ": " << a[first] << " and "
                                     << b[first] << ", difference " << a[first] - b[first];
}
inline testing::AssertionResult same_bits(const Matrix& a, const Matrix& b) { return same_bits<real>(a.flat(), b.flat()); }
template <class T>
testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return same_bits<T>(std::span<const T>(a), std::span<const T>(b));
}

/// Success if no two numbers differ by more than tolerance * (1 + size of the number).
template <class A, class B>
testing::AssertionResult all_near(const A& a, const B& b, double tolerance) {
  if (std::size(a) != std::size(b)) return testing::AssertionFailure() << std::size(a) << " numbers against " << std::size(b);
  for (std::size_t i = 0; i < std::size(a); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    if (!(std::abs(x - y) <= tolerance * (1 + std::abs(y)))) {
      return testing::AssertionFailure() << "number " << i << ": " << x << " and " << y << ", difference " << x - y;
    }
  }
  return testing::AssertionSuccess();
}

/// Of rows whose neighbours in a product differ: what it gives for a row depends, in the last bits, on how many rows it has (ops/gemm.hpp).
inline testing::AssertionResult same_but_for_rounding(const Matrix& a, const Matrix& b) { return all_near(a.flat(), b.flat(), 2e-6); }

/// The message of the E that `action` throws; what the test says if it throws none.
template <class E, class F>
std::string message_of(F action) {
  try {
    action();
  } catch (const E& e) {
    return e.what();
  }
  return "(nothing was thrown)";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace pleiad::test
