// The one door to matrix products: OpenBLAS or oneDNN, chosen at run time, on row-major views.
// Legend: op(A) is m x k, op(B) is k x n, C is m x n. Read next: linear.hpp.
#pragma once
#include "pleiad/core/bf16.hpp"
#include "pleiad/core/matrix.hpp"

#include <string>

namespace pleiad::ops {

enum class Trans { no, yes };
enum class Library { openblas, onednn };

const char* library_name(Library library);
/// Whether this build has it (oneDNN: single precision only).
bool library_available(Library library);
/// Which library multiplies from here on, in this process; at the start the faster one for this processor (docs/performance.md).
/// pre: library_available(library).
void choose_library(Library library);
Library chosen_library();

/// C = alpha op(A) op(B) + beta C, by the chosen library or the one that is named (oneDNN: where alpha = 1 and beta is 0 or 1;
/// OpenBLAS does the rest).
/// pre: shapes agree; the columns of every view lie side by side (stride >= cols); C overlaps neither A nor B.
/// Any extent may be zero: k = 0 leaves C = beta C. With beta = 0 the old content of C is never read (NaN is not kept).
/// The bits of C depend on the values, the shape (m, n, k, ta, tb), the library, its build and kernel and the number of
/// threads, not on addresses. They do depend on m: one row more or less in A may change the last bit of every row of C.
/// A caller that promises equal bits must call with equal shapes, library and threads.
/// errors: LogicError for shapes that disagree and for extents beyond the integers of the library.
void gemm(Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c);
void gemm(Library library, Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c);

/// For products whose m follows from the routing: oneDNN would make a kernel for every m that ever comes, and keep it (70 KB each).
inline constexpr Library k_any_rows = Library::openblas;

/// Why products of bf16 numbers cannot be had here, as the end of a sentence; empty if they can: oneDNN and a processor that
/// multiplies bf16 (AVX512-BF16 or AMX) are needed.
std::string bf16_missing();
/// C = op(A) op(B) (+ C if `add`): factors in bf16, sums and C in single precision. pre: as gemm; bf16_missing() is empty.
void gemm_bf16(Trans ta, Trans tb, View<const bf16> a, View<const bf16> b, bool add, MatrixView c);

/// A sentence if OpenBLAS took kernels for a lesser processor than this one; else empty.
std::string openblas_remark();
/// A sentence if products use more threads than the machine has processors; else empty.
std::string threads_remark();

/// Threads that one product of this process may use, whichever library computes it. pre: threads >= 1.
void set_product_threads(int threads);

/// What products have cost this process since it started: seconds of wall time, operations (a multiply-add counts 2), calls.
struct ProductTotals {
  double seconds = 0, flops = 0;
  i64 calls = 0;
};
ProductTotals product_totals();

/// Libraries, versions, kernels in use, which one is chosen and number of threads, in one line for the run record.
std::string products_description();

}  // namespace pleiad::ops
