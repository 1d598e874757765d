// The only door to OpenBLAS: general matrix product on row-major views.
// Legend: op(A) is m x k, op(B) is k x n, C is m x n. Read next: linear.hpp.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <string>

namespace pleiad::ops {

enum class Trans { no, yes };

/// C = alpha op(A) op(B) + beta C.
/// pre: shapes agree; the columns of every view lie side by side (stride >= cols); C overlaps neither A nor B.
/// Any extent may be zero: k = 0 leaves C = beta C. With beta = 0 the old content of C is never read (NaN is not kept).
/// The bits of C depend on the values, the shape (m, n, k, ta, tb), the OpenBLAS build and kernel and the number of
/// threads, not on addresses. They do depend on m: one row more or less in A may change the last bit of every row of C.
/// A caller that promises equal bits must call with equal shapes and equal threads.
/// errors: LogicError for shapes that disagree and for extents beyond the integers of the library.
void gemm(Trans ta, Trans tb, real alpha, ConstMatrixView a, ConstMatrixView b, real beta, MatrixView c);

/// Threads that OpenBLAS may use in one product of this process. pre: threads >= 1.
void set_blas_threads(int threads);

/// Library, version, build options, kernel in use and number of threads, in one line for the run record.
std::string blas_description();

}  // namespace pleiad::ops
