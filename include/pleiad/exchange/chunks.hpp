// Chunks of an exchange: the experts of each rank in that many groups, one after the other, so that rows for later groups and results of earlier ones
// travel while a group works. All rows of an expert are in one chunk: what an expert computes does not depend on their number.
#pragma once
#include "pleiad/core/expert_map.hpp"

namespace pleiad::exchange {

inline constexpr i64 k_most_chunks = 64;

/// The chunk of an expert at its owner.
inline i64 chunk_of(i64 local_expert, i64 owned, i64 chunks) { return local_expert * chunks / owned; }
inline i64 chunk_of(const ExpertMap& map, i64 expert, i64 chunks) {
  return chunks == 1 ? 0 : chunk_of(map.local_index(expert), static_cast<i64>(map.owned_by(map.owner(expert)).size()), chunks);
}

}  // namespace pleiad::exchange
