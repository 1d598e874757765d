// Softmax of every row: p[t,n] = exp(z[t,n] - m_t) / sum_i exp(z[t,i] - m_t), m_t the largest entry of the row.
// Legend: T rows, N columns (experts, keys, ...). z, p [T,N]. Read next: cross_entropy.hpp.
#pragma once
#include "pleiad/core/matrix.hpp"

#include <span>

namespace pleiad::ops {

/// Overwrites p, which may be z, and, unless it is empty, log_sum_exp[t] = ln sum_n exp z[t,n].
/// pre: equal shapes; N >= 1 unless T = 0; log_sum_exp is empty or has T entries.
/// An entry of minus infinity gets probability 0; a row without any finite entry, or with a NaN, becomes all NaN.
void softmax_rows(ConstMatrixView z, MatrixView p, std::span<real> log_sum_exp);

/// d_z = p .* (d_p - sum_n p d_p). Overwrites d_z, which may be d_p. pre: equal shapes.
void softmax_backward_rows(ConstMatrixView p, ConstMatrixView d_p, MatrixView d_z);

}  // namespace pleiad::ops
