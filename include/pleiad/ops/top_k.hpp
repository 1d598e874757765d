// The best few of many scores without sorting them all: a bound that at least k scores reach, found from the largest of groups, leaves a
// few candidates, and each of these is put in the place that says how many are better.
#pragma once
#include <cstdint>

#include "pleiad/core/real.hpp"

namespace pleiad::ops {

/// Numbers of the k best of n scores, best first; of equal scores the lower number first. NaN: as if the scores were taken one after the
/// other, each put before the last ones of the list that are less; the list keeps its first k. pre: 1 <= k <= n.
void top_k(const real* score, i64 n, i64 k, std::int32_t* best);

/// Most candidates of best_of.
inline constexpr i64 k_most_candidates = 128;
/// Places of the k best of n candidates, best first; of equal scores that with the lower number. The numbers differ.
/// pre: 1 <= k <= n <= k_most_candidates. Where a score is NaN the places are some places.
void best_of(const real* score, const std::int32_t* number, i64 n, i64 k, std::int32_t* place);

}  // namespace pleiad::ops
