// Table look-up: row t of x is row token_t of the table.
// Legend: T tokens, V vocabulary, D width. token [T], table [V,D], x [T,D].
#pragma once
#include "pleiad/core/matrix.hpp"

#include <cstdint>
#include <span>

namespace pleiad::ops {

/// Overwrites x. pre: shapes as in the legend; 0 <= token < V.
void embedding_forward(std::span<const std::int32_t> token, ConstMatrixView table, MatrixView x);

/// d_table[token_t] += d_x[t], t ascending (a token that occurs twice is summed in this order). pre: as in forward.
void embedding_backward(std::span<const std::int32_t> token, ConstMatrixView d_x, MatrixView d_table);

}  // namespace pleiad::ops
