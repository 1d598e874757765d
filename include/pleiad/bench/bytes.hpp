// How many bytes a piece of work must move, whoever does it: the denominators of achieved bandwidths.
#pragma once
#include "pleiad/core/real.hpp"

namespace pleiad::bench {

/// Forward and backward over experts that are single neurons (PEER), `rows` of which are used by at least one token: each of their u and v
/// is read forward, read again backward (in between lies all the rest, more than a cache holds), and has its gradient written: 6 rows of
/// `width` numbers. Tokens, outputs and what a write reads first are not counted, nor a row twice for two tokens.
inline double neuron_bytes(i64 rows, i64 width) { return 6.0 * static_cast<double>(rows) * static_cast<double>(width) * sizeof(real); }

/// The same for experts that are constant rows (product-key memory): read, read again, gradient written.
inline double value_bytes(i64 rows, i64 width) { return 3.0 * static_cast<double>(rows) * static_cast<double>(width) * sizeof(real); }

}  // namespace pleiad::bench
