// What stands behind gemm.hpp: one source file per library. Shapes are checked and empty products are done before these are called.
#pragma once
#include "pleiad/ops/gemm.hpp"

namespace pleiad::ops::detail {

/// The extents of one product.
struct Extents {
  i64 m, n, k;
};

/// Adds one product to product_totals().
void charge(const Extents& e, double seconds);

void openblas_gemm(const Extents& e, Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c);
void openblas_set_threads(int threads);
std::string openblas_description();
std::string openblas_kernel();

bool onednn_available();
/// Whether it has kernels for AVX-512 and takes them here.
bool onednn_has_avx512();
/// C = op(A) op(B) (+ C if `add`). pre: onednn_available().
void onednn_gemm(const Extents& e, Trans ta, Trans tb, ConstMatrixView a, ConstMatrixView b, bool add, MatrixView c);
std::string onednn_bf16_missing();
void onednn_gemm_bf16(const Extents& e, Trans ta, Trans tb, View<const bf16> a, View<const bf16> b, bool add, MatrixView c);
void onednn_set_threads(int threads);
std::string onednn_description();

}  // namespace pleiad::ops::detail
