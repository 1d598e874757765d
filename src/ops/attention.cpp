#include "pleiad/ops/attention.hpp"

#include "pleiad/ops/tile.hpp"

#include <cmath>
#include <initializer_list>
#include <limits>

namespace pleiad::ops {

namespace {

// Queries are taken in blocks of this size against the keys that the last of the block sees: under a causal mask the
// products with hidden keys are skipped, but for half a block per row. A multiple of the rows that a tile has at once.
constexpr i64 k_query_block = 24;

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

/// The columns of one head, in rows of whole vectors one after the other, zero behind them.
void pack(ConstMatrixView x, real* to) {
  const i64 width = wide::padded(x.cols);
  for (i64 i = 0; i < x.rows; ++i, to += width) {
    wide::copy(x.row(i), x.cols, to);
    for (i64 j = x.cols; j < width; ++j) to[j] = 0;
  }
}

void unpack(const real* from, MatrixView x) {
  const i64 width = wide::padded(x.cols);
  for (i64 i = 0; i < x.rows; ++i, from += width) wide::copy(from, x.cols, x.row(i));
}

/// The first `visible` of n scores, n whole vectors, become their softmax, the others 0.
void softmax_row(real* s, i64 visible, i64 n) {
  const Wide never = wide::all(-std::numeric_limits<real>::infinity());
  const auto score = [&](i64 j) { return wide::first(visible - j) ? wide::load(s + j) : never; };
  Wide largest = never, total = {};
  for (i64 j = 0; j < n; j += k_wide) largest = wide::larger(largest, score(j));
  const Wide top = wide::all(visible > 0 ? wide::max(largest) : real(0));
  for (i64 j = 0; j < n; j += k_wide) {
    const Wide e = wide::exp(score(j) - top);
    total += e;
    wide::store(e, s + j);
  }
  const Wide share = wide::all(visible > 0 ? real(1) / wide::sum(total) : real(0));
  for (i64 j = 0; j < n; j += k_wide) wide::store(wide::load(s + j) * share, s + j);
}

/// d_a of n weights becomes scale * a .* (d_a - sum a d_a), as in softmax_backward_rows.
void softmax_backward_row(const real* a, real* d_a, i64 n, real scale) {
  const auto mean = [&] {
    Wide sum = {};
    for (i64 j = 0; j < n; j += k_wide) sum = wide::mul_add(wide::load(a + j), wide::load(d_a + j), sum);
    return wide::all(wide::sum(sum));
  };
  const Wide first = mean();
  for (i64 j = 0; j < n; j += k_wide) wide::store(wide::load(d_a + j) - first, d_a + j);
  const Wide rest = mean(), by = wide::all(scale);
  for (i64 j = 0; j < n; j += k_wide) wide::store(by * (wide::load(a + j) * (wide::load(d_a + j) - rest)), d_a + j);
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

// Heads are copied into rows of whole vectors first: in place, the rows of one head are a multiple of 256 bytes apart or more, and meet
// each other in the cache.
void attention_forward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, const Mask& mask, i64 heads,
                       MatrixView a, MatrixView out) {
  const auto [L, dh, scale] = check_shapes(q, a, mask, heads, {k, v, out});
  const i64 width = wide::padded(dh), keys_width = wide::padded(L);
  Buffer<real> scratch;
  scratch.reserve_uninitialised(dh * keys_width + L * width + k_query_block * (keys_width + 2 * width));
  real *k_t = scratch.data(), *v_rows = k_t + dh * keys_width, *scores = v_rows + L * width,
       *q_rows = scores + k_query_block * keys_width, *out_rows = q_rows + k_query_block * width;
  for (i64 h = 0; h < heads; ++h) {
    const MatrixView a_h = a.row_range(h * L, L);
    tile::transpose(k.col_range(h * dh, dh).row_range(0, mask.length), k_t, keys_width);
    pack(v.col_range(h * dh, dh).row_range(0, mask.length), v_rows);
    for (i64 begin = 0; begin < L; begin += k_query_block) {
      const i64 count = std::min(k_query_block, L - begin), keys = mask.visible(begin + count - 1), n = wide::padded(keys);
      pack(q.col_range(h * dh, dh).row_range(begin, count), q_rows);
      for (i64 i = 0; i < count * width; i += k_wide) wide::store(wide::load(q_rows + i) * scale, q_rows + i);
      tile::multiply(count, n, dh, {q_rows, width, 1}, k_t, keys_width, scores, n);
      for (i64 i = 0; i < count; ++i) {
        real* row = scores + i * n;
        softmax_row(row, mask.visible(begin + i), n);
        wide::copy(row, std::min(n, L), a_h.row(begin + i));
        if (n < L) std::fill(a_h.row(begin + i) + n, a_h.row(begin + i) + L, real(0));
      }
      tile::multiply(count, width, keys, {scores, n, 1}, v_rows, width, out_rows, width);
      unpack(out_rows, out.col_range(h * dh, dh).row_range(begin, count));
    }
  }
}

// Per block of queries, with s the scaled scores: d_a = d_out v^T, d_v += a^T d_out, d_s = a .* (d_a - sum a d_a),
// d_q = scale d_s k, d_k += scale d_s^T q.
void attention_backward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, ConstMatrixView a, const Mask& mask,
                        i64 heads, ConstMatrixView d_out, MatrixView d_q, MatrixView d_k, MatrixView d_v,
                        Buffer<real>& scratch) {
  const auto [L, dh, scale] = check_shapes(q, a, mask, heads, {k, v, d_out, d_q, d_k, d_v});
  const i64 width = wide::padded(dh), keys_width = wide::padded(L);
  scratch.reserve_uninitialised(dh * keys_width + 3 * L * width + k_query_block * (2 * keys_width + 3 * width));
  real *v_t = scratch.data(), *k_rows = v_t + dh * keys_width, *d_k_rows = k_rows + L * width, *d_v_rows = d_k_rows + L * width,
       *weights = d_v_rows + L * width, *d_s = weights + k_query_block * keys_width, *q_rows = d_s + k_query_block * keys_width,
       *d_q_rows = q_rows + k_query_block * width, *d_out_rows = d_q_rows + k_query_block * width;
  for (i64 h = 0; h < heads; ++h) {
    const ConstMatrixView a_h = a.row_range(h * L, L);
    tile::transpose(v.col_range(h * dh, dh).row_range(0, mask.length), v_t, keys_width);
    pack(k.col_range(h * dh, dh).row_range(0, mask.length), k_rows);
    std::fill_n(d_k_rows, 2 * L * width, real(0));
    for (i64 begin = 0; begin < L; begin += k_query_block) {
      const i64 count = std::min(k_query_block, L - begin), keys = mask.visible(begin + count - 1), n = wide::padded(keys);
      pack(q.col_range(h * dh, dh).row_range(begin, count), q_rows);
      pack(d_out.col_range(h * dh, dh).row_range(begin, count), d_out_rows);
      pack(a_h.row_range(begin, count).col_range(0, keys), weights);

      tile::multiply(count, n, dh, {d_out_rows, width, 1}, v_t, keys_width, d_s, n);
      tile::multiply(keys, width, count, {weights, 1, n}, d_out_rows, width, d_v_rows, width, true);
      // Where a key is hidden a is 0 and so is d_s: whole rows may be treated alike.
      for (i64 i = 0; i < count; ++i) softmax_backward_row(weights + i * n, d_s + i * n, n, scale);
      tile::multiply(count, width, keys, {d_s, n, 1}, k_rows, width, d_q_rows, width);
      tile::multiply(keys, width, count, {d_s, 1, n}, q_rows, width, d_k_rows, width, true);
      unpack(d_q_rows, d_q.col_range(h * dh, dh).row_range(begin, count));
    }
    unpack(d_k_rows, d_k.col_range(h * dh, dh));
    unpack(d_v_rows, d_v.col_range(h * dh, dh));
  }
}

}  // namespace pleiad::ops
