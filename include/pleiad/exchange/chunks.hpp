// Chunks of an exchange: what each rank has for another in that many parts, one after the other, so that rows of later parts and results of earlier ones
// travel while a part is worked on. Banks that work expert by expert get groups of experts: all rows of an expert are in one chunk, so what it computes
// does not depend on their number. Banks that work token by token get runs of tokens.
#pragma once
#include "pleiad/core/expert_map.hpp"

namespace pleiad::exchange {

enum class ChunksOf { experts, tokens };

inline constexpr i64 k_most_chunks = 64;

/// The chunk of one of so many rows from one rank to another.
inline i64 chunk_of_row(i64 row, i64 rows, i64 chunks) { return row * chunks / rows; }
/// The chunk of an expert at its owner.
inline i64 chunk_of(i64 local_expert, i64 owned, i64 chunks) { return local_expert * chunks / owned; }
inline i64 chunk_of(const ExpertMap& map, i64 expert, i64 chunks) {
  return chunks == 1 ? 0 : chunk_of(map.local_index(expert), static_cast<i64>(map.owned_by(map.owner(expert)).size()), chunks);
}

}  // namespace pleiad::exchange
