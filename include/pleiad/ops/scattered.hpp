// Products of matrices whose rows lie anywhere, each at its own address: tokens where they are, results where they belong, without a copy of
// either. For factors so small that one of them stays in the nearest caches (experts of few neurons); large products are gemm.hpp's.
// Each element of a product is one chain of mul_add over k, in order, so its bits do not depend on m or n.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pleiad/ops/gemm.hpp"

namespace pleiad::ops {

/// The addresses of a matrix's rows.
template <class T>
using RowsAt = std::span<T* const>;

/// Room for such addresses, kept from call to call.
template <class T>
class RowTable {
 public:
  /// Of all rows of the views, one view after the other. Valid until the next call.
  template <class... Views>
  RowsAt<T> all_of(const Views&... views) {
    rows_.clear();
    (append(views), ...);
    return rows_;
  }
  /// Of rows number[0], number[1] and so on of each view, one view after the other.
  template <class... Views>
  RowsAt<T> some_of(std::span<const std::int32_t> number, const Views&... views) {
    rows_.clear();
    (append(number, views), ...);
    return rows_;
  }

  /// Behind what there is, all rows of one more view.
  void add(View<T> m) { append(m); }
  /// What there is, its last row so often that the number of rows is a multiple of m. pre: not empty.
  RowsAt<T> filled_up(i64 m) {
    while (static_cast<i64>(rows_.size()) % m != 0) rows_.push_back(rows_.back());
    return rows_;
  }

 private:
  void append(View<T> m) {
    for (i64 r = 0; r < m.rows; ++r) rows_.push_back(m.row(r));
  }
  void append(std::span<const std::int32_t> number, View<T> m) {
    for (const std::int32_t r : number) rows_.push_back(m.row(r));
  }
  std::vector<T*> rows_;
};

/// What becomes of the sums: c = sum, or, row after row, c += factor[row] * sum.
struct Sums {
  bool add = false;
  const real* factor = nullptr;  // [m], null for 1
  /// Rows of k numbers that are needed soon, a multiple of m: while row i of C is computed, rows i, i + m and so on of these are brought near.
  /// Not with `add`.
  RowsAt<const real> meanwhile = {};
};

/// C [m,n] from op(A) [m,k] and B [k,n], where op(A), told by `ta`, has as many rows as C, or columns of A 0 .. m-1. Rows of C may be the
/// same row several times. Charged to product_totals(). pre: n is a multiple of k_wide (wide.hpp); C overlaps neither A nor B.
void multiply_scattered(Trans ta, RowsAt<const real> a, RowsAt<const real> b, i64 n, RowsAt<real> c, Sums sums = {});

}  // namespace pleiad::ops
