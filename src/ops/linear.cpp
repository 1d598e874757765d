#include "pleiad/ops/linear.hpp"

#include "pleiad/ops/gemm.hpp"

namespace pleiad::ops {

void linear_forward(ConstMatrixView x, ConstMatrixView w, MatrixView y) {
  gemm(Trans::no, Trans::yes, 1, x, w, 0, y);
}

void linear_backward(ConstMatrixView x, ConstMatrixView w, ConstMatrixView d_y, MatrixView d_x, MatrixView d_w,
                     bool add_to_d_x) {
  // A view onto zero rows may have no address either: it is wanted, and the product with it is empty.
  if (d_x.data) gemm(Trans::no, Trans::no, 1, d_y, w, add_to_d_x ? 1 : 0, d_x);
  if (d_w.data) gemm(Trans::yes, Trans::no, 1, d_y, x, 1, d_w);
}

void add_bias(MatrixView rows, ConstMatrixView bias) {
  PLEIAD_CHECK(bias.rows == 1 && bias.cols == rows.cols, "bias of {} x {} for {} columns", bias.rows, bias.cols, rows.cols);
  for (i64 r = 0; r < rows.rows; ++r) {
    for (i64 j = 0; j < rows.cols; ++j) rows(r, j) += bias(0, j);
  }
}

void add_column_sums(ConstMatrixView rows, MatrixView sum) {
  PLEIAD_CHECK(sum.rows == 1 && sum.cols == rows.cols, "sum of {} x {} for {} columns", sum.rows, sum.cols, rows.cols);
  for (i64 r = 0; r < rows.rows; ++r) {
    for (i64 j = 0; j < rows.cols; ++j) sum(0, j) += rows(r, j);
  }
}

}  // namespace pleiad::ops
