#include "pleiad/ops/attention.hpp"

#include "pleiad/ops/gemm.hpp"
#include "pleiad/ops/softmax.hpp"

#include <cmath>
#include <initializer_list>
#include <limits>

namespace pleiad::ops {

namespace {

// Queries are taken in blocks of this size against the keys that the last of the block sees: under a causal mask the
// products with hidden keys are skipped, but for half a block per row.
constexpr i64 k_query_block = 32;

// x^T in `room`. At these sizes a product with a plain right factor runs at twice the speed of one with a transposed
// right factor, and all blocks of queries share the turned one.
ConstMatrixView transposed(ConstMatrixView x, real* room) {
  for (i64 i = 0; i < x.rows; ++i) {
    for (i64 j = 0; j < x.cols; ++j) room[j * x.rows + i] = x(i, j);
  }
  return {room, x.cols, x.rows};
}

struct Shape {
  i64 length, head_dim;
  real scale;
};

Shape check_shapes(ConstMatrixView q, ConstMatrixView a, const Mask& mask, i64 heads,
                   std::initializer_list<ConstMatrixView> others) {
  PLEIAD_CHECK(heads >= 1 && q.cols % heads == 0, "{} heads over width {}", heads, q.cols);
  for (const ConstMatrixView& o : others) {
    PLEIAD_CHECK(o.rows == q.rows && o.cols == q.cols, "attention of {}x{} with {}x{}", q.rows, q.cols, o.rows, o.cols);
  }
  PLEIAD_CHECK(a.rows == heads * q.rows && a.cols == q.rows, "attention weights {}x{} for {} heads, length {}", a.rows,
               a.cols, heads, q.rows);
  PLEIAD_CHECK(mask.length >= 0 && mask.length <= q.rows, "mask of length {} for {} tokens", mask.length, q.rows);
  const i64 head_dim = q.cols / heads;
  return {q.rows, head_dim, static_cast<real>(1.0 / std::sqrt(static_cast<double>(head_dim)))};
}

void turn(MatrixView x, const RotaryTable& table, i64 heads, i64 first_position, real direction) {
  const i64 half = table.head_dim() / 2;
  PLEIAD_CHECK(x.cols == heads * table.head_dim(), "rotation of width {}: {} heads of {}", x.cols, heads,
               table.head_dim());
  PLEIAD_CHECK(first_position >= 0 && first_position + x.rows <= table.max_len(),
               "positions {}..{} in a rotary table of {}", first_position, first_position + x.rows, table.max_len());
  for (i64 i = 0; i < x.rows; ++i) {
    const real* c = table.cos(first_position + i);
    const real* s = table.sin(first_position + i);
    for (i64 h = 0; h < heads; ++h) {
      real* low = x.row(i) + h * table.head_dim();
      real* high = low + half;
#pragma omp simd
      for (i64 j = 0; j < half; ++j) {
        const real u = low[j], w = high[j], t = direction * s[j];
        low[j] = u * c[j] - w * t;
        high[j] = w * c[j] + u * t;
      }
    }
  }
}

}  // namespace

RotaryTable::RotaryTable(i64 max_len, i64 head_dim, double base) {
  PLEIAD_CHECK(head_dim > 0 && head_dim % 2 == 0, "rotary positions need an even head width, not {}", head_dim);
  PLEIAD_CHECK(max_len >= 0 && base > 0, "rotary table of {} positions with base {}", max_len, base);
  cos_.resize_uninitialised(max_len, head_dim / 2);
  sin_.resize_uninitialised(max_len, head_dim / 2);
  for (i64 j = 0; j < head_dim / 2; ++j) {
    const double frequency = std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
    for (i64 i = 0; i < max_len; ++i) {
      const double angle = static_cast<double>(i) * frequency;
      cos_(i, j) = static_cast<real>(std::cos(angle));
      sin_(i, j) = static_cast<real>(std::sin(angle));
    }
  }
}

void rotate(MatrixView qk, const RotaryTable& table, i64 heads, i64 first_position) {
  turn(qk, table, heads, first_position, 1);
}

void rotate_back(MatrixView d_qk, const RotaryTable& table, i64 heads, i64 first_position) {
  turn(d_qk, table, heads, first_position, -1);
}

void attention_forward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, const Mask& mask, i64 heads,
                       MatrixView a, MatrixView out) {
  const auto [L, dh, scale] = check_shapes(q, a, mask, heads, {k, v, out});
  Buffer<real> scratch;
  scratch.reserve_uninitialised(dh * L);
  for (i64 h = 0; h < heads; ++h) {
    const ConstMatrixView q_h = q.col_range(h * dh, dh), k_h = k.col_range(h * dh, dh), v_h = v.col_range(h * dh, dh);
    const MatrixView a_h = a.row_range(h * L, L), out_h = out.col_range(h * dh, dh);
    const ConstMatrixView k_t = transposed(k_h.row_range(0, mask.length), scratch.data());
    for (i64 begin = 0; begin < L; begin += k_query_block) {
      const i64 count = std::min(k_query_block, L - begin);
      const i64 keys = mask.visible(begin + count - 1);
      const MatrixView a_block = a_h.row_range(begin, count).col_range(0, keys);

      gemm(Trans::no, Trans::no, scale, q_h.row_range(begin, count), k_t.col_range(0, keys), 0, a_block);
      for (i64 i = begin; i < begin + count; ++i) {
        std::fill(a_h.row(i) + mask.visible(i), a_h.row(i) + keys, -std::numeric_limits<real>::infinity());
        std::fill(a_h.row(i) + keys, a_h.row(i) + L, real(0));
      }
      // Whole rows at once: hidden keys get exactly 0, and even lengths are faster than just the visible keys.
      if (keys > 0) softmax_rows(a_block, a_block, {});
      gemm(Trans::no, Trans::no, 1, a_block, v_h.row_range(0, keys), 0, out_h.row_range(begin, count));
    }
  }
}

// Per block of queries, with s the scaled scores: d_a = d_out v^T, d_v += a^T d_out, d_s = a .* (d_a - sum a d_a),
// d_q = scale d_s k, d_k += scale d_s^T q.
void attention_backward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, ConstMatrixView a, const Mask& mask,
                        i64 heads, ConstMatrixView d_out, MatrixView d_q, MatrixView d_k, MatrixView d_v,
                        Buffer<real>& scratch) {
  const auto [L, dh, scale] = check_shapes(q, a, mask, heads, {k, v, d_out, d_q, d_k, d_v});
  scratch.reserve_uninitialised((k_query_block + dh) * L);
  for (i64 h = 0; h < heads; ++h) {
    const ConstMatrixView q_h = q.col_range(h * dh, dh), k_h = k.col_range(h * dh, dh), v_h = v.col_range(h * dh, dh);
    const ConstMatrixView a_h = a.row_range(h * L, L), d_out_h = d_out.col_range(h * dh, dh);
    const MatrixView d_q_h = d_q.col_range(h * dh, dh), d_k_h = d_k.col_range(h * dh, dh),
                     d_v_h = d_v.col_range(h * dh, dh);
    const ConstMatrixView v_t = transposed(v_h.row_range(0, mask.length), scratch.data() + k_query_block * L);
    for (const MatrixView& d : {d_k_h, d_v_h}) {
      for (i64 i = 0; i < L; ++i) std::fill(d.row(i), d.row(i) + dh, real(0));
    }
    for (i64 begin = 0; begin < L; begin += k_query_block) {
      const i64 count = std::min(k_query_block, L - begin);
      const i64 keys = mask.visible(begin + count - 1);
      const ConstMatrixView a_block = a_h.row_range(begin, count).col_range(0, keys);
      const ConstMatrixView d_out_block = d_out_h.row_range(begin, count);
      const MatrixView d_s(scratch.data(), count, keys);

      gemm(Trans::no, Trans::no, 1, d_out_block, v_t.col_range(0, keys), 0, d_s);
      gemm(Trans::yes, Trans::no, 1, a_block, d_out_block, 1, d_v_h.row_range(0, keys));
      // Where a key is hidden a is 0 and so is d_s: whole rows may be treated alike.
      softmax_backward_rows(a_block, d_s, d_s);
      gemm(Trans::no, Trans::no, scale, d_s, k_h.row_range(0, keys), 0, d_q_h.row_range(begin, count));
      gemm(Trans::yes, Trans::no, scale, d_s, q_h.row_range(begin, count), 1, d_k_h.row_range(0, keys));
    }
  }
}

}  // namespace pleiad::ops
