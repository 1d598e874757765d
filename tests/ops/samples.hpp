// Reproducible numbers and comparison by bits, for the tests of this room.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <cstdint>
#include <cstring>
#include <random>

namespace pleiad::test {

/// Uniform in [-half_width, half_width], the same on every machine.
inline Matrix random_matrix(i64 rows, i64 cols, std::uint64_t seed, double half_width = 1) {
  std::mt19937_64 bits(seed);
  Matrix m(rows, cols);
  for (real& x : m.flat()) x = static_cast<real>(half_width * (static_cast<double>(bits() >> 11) * 0x1.0p-52 - 1.0));
  return m;
}

inline bool same_bits(ConstMatrixView a, ConstMatrixView b) {
  if (a.rows != b.rows || a.cols != b.cols) return false;
  for (i64 i = 0; i < a.rows; ++i) {
    if (std::memcmp(a.row(i), b.row(i), static_cast<std::size_t>(a.cols) * sizeof(real)) != 0) return false;
  }
  return true;
}

/// The rows of a matrix at an odd address and with gaps between them: nothing may depend on either.
class Shifted {
 public:
  explicit Shifted(ConstMatrixView m, i64 offset = 3, i64 gap = 5)
      : room_(1, offset + m.rows * (m.cols + gap)), view_(room_.data() + offset, m.rows, m.cols, m.cols + gap) {
    copy_rows(m, view_);
  }
  MatrixView view() { return view_; }

 private:
  Matrix room_;
  MatrixView view_;
};

/// sum of a .* b, in double.
inline double inner(ConstMatrixView a, ConstMatrixView b) {
  double total = 0;
  for (i64 i = 0; i < a.rows; ++i) {
    for (i64 j = 0; j < a.cols; ++j) total += static_cast<double>(a(i, j)) * static_cast<double>(b(i, j));
  }
  return total;
}

}  // namespace pleiad::test
