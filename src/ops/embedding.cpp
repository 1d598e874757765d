#include "pleiad/ops/embedding.hpp"

#include "pleiad/ops/vec.hpp"

#include <algorithm>

namespace pleiad::ops {

namespace {

void check_shapes(std::span<const std::int32_t> token, ConstMatrixView table, ConstMatrixView x) {
  PLEIAD_CHECK(x.rows == static_cast<i64>(token.size()) && x.cols == table.cols,
               "embedding of {} tokens, width {}, into {}x{}", token.size(), table.cols, x.rows, x.cols);
  for (const std::int32_t v : token)
    PLEIAD_CHECK(v >= 0 && v < table.rows, "token {} of a vocabulary of {}", v, table.rows);
}

}  // namespace

void embedding_forward(std::span<const std::int32_t> token, ConstMatrixView table, MatrixView x) {
  check_shapes(token, table, x);
  for (i64 t = 0; t < x.rows; ++t) {
    std::copy_n(table.row(token[static_cast<std::size_t>(t)]), x.cols, x.row(t));
  }
}

void embedding_backward(std::span<const std::int32_t> token, ConstMatrixView d_x, MatrixView d_table) {
  check_shapes(token, d_table, d_x);
  for (i64 t = 0; t < d_x.rows; ++t) {
    vec::add(d_x.row(t), d_table.row(token[static_cast<std::size_t>(t)]), d_x.cols);
  }
}

}  // namespace pleiad::ops
