// Multi-head self-attention of ONE sequence, between the q, k, v projections and the output projection, rotary
// positions:
//   a_h = softmax over visible keys of q_h k_h^T / sqrt(dh),   out_h = a_h v_h   (Vaswani et al. 2017, eq. 1)
// Legend: L length, D width, H heads, dh = D / H; head h owns columns h dh .. (h+1) dh - 1 of q, k, v, out [L,D].
// a [H L, L]: row h L + i holds the weights of query i in head h, zero where the mask hides a key.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <algorithm>

namespace pleiad::ops {

/// Which keys a query sees: keys j < visible(i) = min(length, max(i + 1, prefix)). One rule for causal, bidirectional
/// and prefix masks and for padding at the end (length = real tokens).
struct Mask {
  i64 length = 0;
  i64 prefix = 0;

  i64 visible(i64 i) const { return std::min(length, std::max(i + 1, prefix)); }

  static Mask causal(i64 length) { return {length, 0}; }
  static Mask bidirectional(i64 length) { return {length, length}; }
  /// The first `prefix` tokens see each other, later ones what lies before them and themselves.
  static Mask prefix_lm(i64 length, i64 prefix) { return {length, prefix}; }
};

/// cos and sin of position * base^(-2 j / dh), j < dh / 2, computed in double (Su et al. 2021, eq. 15).
class RotaryTable {
 public:
  RotaryTable() = default;
  /// pre: head_dim even and positive; base > 0; max_len >= 0. errors: LogicError.
  RotaryTable(i64 max_len, i64 head_dim, double base);

  i64 max_len() const { return cos_.rows(); }
  i64 head_dim() const { return 2 * cos_.cols(); }
  const real* cos(i64 position) const { return cos_.row(position); }
  const real* sin(i64 position) const { return sin_.row(position); }

 private:
  Matrix cos_, sin_;  // [max_len, dh / 2]
};

/// In place, for every head: the pair (x_j, x_{j + dh/2}) of row i turns by the angle of position first_position + i.
/// pre: qk [L, heads * head_dim of the table]; all positions within the table.
void rotate(MatrixView qk, const RotaryTable& table, i64 heads, i64 first_position = 0);

/// The transpose of rotate (turns back): takes the gradient of the turned rows to that of the rows before.
void rotate_back(MatrixView d_qk, const RotaryTable& table, i64 heads, i64 first_position = 0);

/// Overwrites a and out; q and k are turned already. A query that sees no key gets zero weights and zero output.
/// pre: shapes as in the legend; H divides D; 0 <= mask.length <= L; no overlap of outputs with anything.
void attention_forward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, const Mask& mask, i64 heads,
                       MatrixView a, MatrixView out);

/// Overwrites d_q, d_k, d_v with the gradients of forward, whose weights are `a` (a itself is given no gradient).
/// `scratch` is working memory, made large enough here; its content means nothing. pre: as in forward; no overlap.
void attention_backward(ConstMatrixView q, ConstMatrixView k, ConstMatrixView v, ConstMatrixView a, const Mask& mask,
                        i64 heads, ConstMatrixView d_out, MatrixView d_q, MatrixView d_k, MatrixView d_v,
                        Buffer<real>& scratch);

}  // namespace pleiad::ops
