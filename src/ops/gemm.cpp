#include "pleiad/ops/gemm.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "gemm_detail.hpp"
#include "pleiad/core/clock.hpp"

namespace pleiad::ops {

namespace {

/// Without AVX-512 oneDNN takes twice as long as OpenBLAS where it turns a factor whose rows are 4 KiB apart, and gains nothing elsewhere. An OpenBLAS
/// that does not know the processor is slower still.
Library faster_library() {
  if (!detail::onednn_available()) return Library::openblas;
  const std::string kernel = detail::openblas_kernel();
  const bool at_its_best = kernel == "Haswell" || kernel == "Zen";
  return at_its_best && !detail::onednn_has_avx512() ? Library::openblas : Library::onednn;
}

// As in the libraries themselves, the choice and the totals belong to the process.
Library& chosen() {
  static Library library = faster_library();
  return library;
}

ProductTotals totals;
i64 threads_of_product = 1;

void scale_in_place(real beta, MatrixView c) {
  for (i64 i = 0; i < c.rows; ++i) {
    real* row = c.row(i);
    if (beta == real(0)) {
      std::fill(row, row + c.cols, real(0));
    } else if (beta != real(1)) {
      for (i64 j = 0; j < c.cols; ++j) row[j] *= beta;
    }
  }
}

template <class T>
void check_stride(View<T> v) {
  PLEIAD_CHECK(v.rows <= 1 || v.stride >= v.cols, "stride {} of a matrix with {} columns", v.stride, v.cols);
}

/// Checks the shapes.
template <class T>
detail::Extents extents(Trans ta, Trans tb, View<T> a, View<T> b, ConstMatrixView c) {
  const i64 m = ta == Trans::no ? a.rows : a.cols, k = ta == Trans::no ? a.cols : a.rows;
  const i64 k_of_b = tb == Trans::no ? b.rows : b.cols, n = tb == Trans::no ? b.cols : b.rows;
  PLEIAD_CHECK(k == k_of_b && c.rows == m && c.cols == n, "product of {}x{} and {}x{} into {}x{}", m, k, k_of_b, n, c.rows, c.cols);
  for (const i64 extent : {m, k, n}) {
    PLEIAD_CHECK(extent >= 0 && extent <= std::numeric_limits<std::int32_t>::max(), "extent {} in a matrix product", extent);
  }
  check_stride(a);
  check_stride(b);
  check_stride(c);
  return {m, n, k};
}

/// Charges what `product` costs to the totals.
template <class Product>
void charged(const detail::Extents& e, Product product) {
  const Stopwatch watch;
  product();
  detail::charge(e, watch.seconds());
}

}  // namespace

void detail::charge(const Extents& e, double seconds) {
  totals.seconds += seconds;
  totals.flops += 2.0 * static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k);
  ++totals.calls;
}

const char* library_name(Library library) { return library == Library::onednn ? "onednn" : "openblas"; }
bool library_available(Library library) { return library == Library::openblas || detail::onednn_available(); }
void choose_library(Library library) {
  PLEIAD_CHECK(library_available(library), "this build has no {}", library_name(library));
  chosen() = library;
}
Library chosen_library() { return chosen(); }

void gemm(Library library, Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c) {
  const detail::Extents e = extents(ta, tb, a, b, c);
  if (e.m == 0 || e.n == 0) return;
  if (e.k == 0) return scale_in_place(beta, c);
  charged(e, [&] {
    // Scaled sums would make oneDNN take its plain loops.
    if (library == Library::onednn && alpha == real(1) && (beta == real(0) || beta == real(1))) {
      detail::onednn_gemm(e, ta, tb, a, b, beta == real(1), c);
    } else {
      detail::openblas_gemm(e, ta, tb, alpha, a, b, beta, c);
    }
  });
}

void gemm(Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c) {
  gemm(chosen(), ta, tb, alpha, a, b, beta, c);
}

std::string bf16_missing() { return detail::onednn_bf16_missing(); }

void gemm_bf16(Trans ta, Trans tb, View<const bf16> a, View<const bf16> b, bool add, MatrixView c) {
  const detail::Extents e = extents(ta, tb, a, b, c);
  if (e.m == 0 || e.n == 0) return;
  if (e.k == 0) return scale_in_place(add ? 1 : 0, c);
  charged(e, [&] { detail::onednn_gemm_bf16(e, ta, tb, a, b, add, c); });
}

void set_product_threads(int threads) {
  PLEIAD_CHECK(threads >= 1, "{} threads in a product", threads);
  threads_of_product = threads;
  detail::openblas_set_threads(threads);
  detail::onednn_set_threads(threads);
}

std::string openblas_remark() {
#ifdef __x86_64__
  // A version that is older than the processor knows it by no name.
  const std::string kernel = detail::openblas_kernel();
  const bool wide = kernel == "SkylakeX" || kernel == "Cooperlake" || kernel == "SapphireRapids";
  if (__builtin_cpu_supports("avx512f") && !wide) {
    const char* told = std::getenv("OPENBLAS_CORETYPE");
    return fmt::format("OpenBLAS takes its {} kernels although this processor has AVX-512{}: OPENBLAS_CORETYPE=SkylakeX in the environment makes it faster", kernel,
                       told ? fmt::format(", as OPENBLAS_CORETYPE={} tells it", told) : "");
  }
#endif
  return "";
}

std::string threads_remark() {
  const i64 processors = sysconf(_SC_NPROCESSORS_ONLN);
  return threads_of_product <= processors ? "" : fmt::format("parallel.blas_threads = {}: this machine has {} processors", threads_of_product, processors);
}

ProductTotals product_totals() { return totals; }

std::string products_description() {
  return fmt::format("{}; {}; products by {}", detail::openblas_description(), detail::onednn_description(), library_name(chosen()));
}

}  // namespace pleiad::ops
