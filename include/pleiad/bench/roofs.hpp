// What the machine can do at best: one large matrix product, memory read and written in order (STREAM triad), rows read at random places.
// Each is a thing that runs, knows the work of a run, and can check that it did it. Read next: measurement.hpp.
#pragma once
#include "pleiad/bench/record.hpp"
#include "pleiad/core/matrix.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::bench {

/// Who multiplies, and what.
struct Arithmetic {
  ops::Library library = ops::Library::openblas;
  bool bf16 = false;  ///< factors in bf16, sums in single precision

  std::string name() const { return std::string(ops::library_name(library)) + (bf16 ? " bf16" : ""); }
};
/// Those that can be had here.
std::vector<Arithmetic> arithmetics();

/// `count` products of the same shape over matrices of their own, one after the other, as the experts of a layer make them:
/// C = op(A) op(B), op(A) m x k, op(B) k x n.
struct ProductShape {
  i64 m = 0, n = 0, k = 0;
  ops::Trans ta = ops::Trans::no, tb = ops::Trans::no;
  i64 count = 1;
};

class Products {
 public:
  Products(const Arithmetic& arithmetic, const ProductShape& shape, std::uint64_t seed);
  void run();
  /// 2 m n k count.
  double flops() const;
  /// Sampled entries against a plain sum in double, relative to the sum of the absolute terms.
  Check check() const;

 private:
  Arithmetic arithmetic_;
  ProductShape shape_;
  Matrix a_, b_, c_;                // the matrices of all products, one below the other
  Buffer<bf16> short_a_, short_b_;  // the same numbers, of products in bf16
};

/// a[i] = b[i] + s c[i] over arrays of `elements` (McCalpin's STREAM). Bytes are those of the three arrays, once each.
class Triad {
 public:
  explicit Triad(i64 elements);
  void run();
  double bytes() const;
  Check check() const;

 private:
  Buffer<real> a_, b_, c_;
};

/// Reads `rows_per_run` whole rows of `width` numbers at random places of a table of `table_rows`, those of the next run at others, and
/// adds them up. The next rows are fetched ahead, as their numbers are known. Bytes are those of the rows.
class RandomRows {
 public:
  RandomRows(i64 table_rows, i64 width, i64 rows_per_run, std::uint64_t seed);
  RandomRows(const RandomRows&) = delete;
  RandomRows& operator=(const RandomRows&) = delete;
  void run();
  double bytes() const;
  Check check();

 private:
  std::span<const std::int32_t> next_rows();

  i64 width_, rows_per_run_, at_ = 0;
  Buffer<real> storage_;
  MatrixView table_;                 // in storage_, from the start of a page: rows that straddle pages cost a third of the bandwidth
  std::vector<std::int32_t> order_;  // a permutation of the rows
  double sum_ = 0;                   // of the rows of the last run
};

/// Rows of `width` numbers in a table of about `bytes`, at least one run of them.
i64 table_rows_for(double bytes, i64 width, i64 rows_per_run);

}  // namespace pleiad::bench
