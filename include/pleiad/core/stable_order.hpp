// Sorting small whole numbers, keeping the order of equal ones: how assignments become expert-major.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad {

/// order[i] is the place in `keys` of the i-th smallest key, equal keys in the order in which they stand. Linear in keys.size(), however
/// large `limit` is (a million experts). pre: 0 <= key < limit.
void stable_order(std::span<const std::int32_t> keys, i64 limit, std::vector<std::int32_t>& order);

}  // namespace pleiad
