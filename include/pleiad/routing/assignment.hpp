// The only product of routing: for every token of this rank a list of (expert, weight), best selection score first.
// Read next: router.hpp.
#pragma once
#include <cstdint>
#include <vector>

#include "pleiad/core/matrix.hpp"

namespace pleiad::routing {

/// Compressed rows: token t owns entries offset[t] .. offset[t+1]-1. An entry that a capacity removed stays in the list with
/// kept = 0: it carries no token and no gradient, but the selection before dropping is what balance losses count.
struct Assignment {
  i64 experts = 0;
  std::vector<i64> offset{0};         // [T+1]
  std::vector<std::int32_t> expert;   // [nnz] global expert number
  std::vector<real> weight;           // [nnz] combine weight, before dropping, never rescaled
  std::vector<std::uint8_t> kept;     // [nnz]

  i64 tokens() const { return static_cast<i64>(offset.size()) - 1; }
  i64 entries() const { return static_cast<i64>(expert.size()); }
};

/// Entries per expert on this rank, [experts]: all selected ones, or only those that were kept.
std::vector<i64> count_per_expert(const Assignment& a, bool only_kept);
/// How many tokens have each expert as their best choice, [experts].
std::vector<i64> count_first_choices(const Assignment& a);

}  // namespace pleiad::routing
