// Choosing experts from scores, and turning probabilities into combine weights and back. Ties go to the lower expert number.
#pragma once
#include <functional>

#include "pleiad/core/lanes.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/routing/assignment.hpp"

namespace pleiad::routing {

/// The k best scores of every row [T,N], best first; all kept, weights unset (0). Rows of padding get none.
Assignment select_top_k(ConstMatrixView scores, i64 k, std::span<const std::uint8_t> real_tokens = {});
/// The same with a number of its own for every token, 0 to N; count [T].
Assignment select_top_counts(ConstMatrixView scores, std::span<const i64> count);
/// Walks down the sorted probabilities p [T,N] and takes an expert while the mass before it is below `mass`; the best one always.
Assignment select_mass(ConstMatrixView p, double mass, std::span<const std::uint8_t> real_tokens = {});

/// k different experts for every token, the same probability for all, a function of the stream and of draw_of(token); weights 1/k.
Assignment draw_experts(i64 tokens, i64 experts, i64 k, const Stream& stream, const std::function<std::uint64_t(i64)>& draw_of,
                        std::span<const std::uint8_t> real_tokens = {});

/// How the combine weight of an entry follows from p: p itself; p over the sum of p of the token's entries; that, but raw where the
/// token has one expert; or 1 over the number of the token's entries.
enum class WeightRule { raw, renormalized, raw_if_single, equal };

void weigh_by_probability(Assignment& a, ConstMatrixView p, WeightRule rule);
/// The gradient of the weights for p = softmax(z), entry by entry: d [nnz] of `tokens`. Weights over the mass of the token's entries are the softmax of the z of
/// these entries alone: d is the gradient of their z, and the z of all others gets exactly none, not the rounding of a sum that is zero.
/// Of tokens for which !goes_to_z, d is the gradient of the entry's p.
void weigh_by_softmax_backward(const Assignment& a, WeightRule rule, Range tokens, std::span<const real> d_weight, std::span<real> d);
bool goes_to_z(const Assignment& a, WeightRule rule, i64 token);

}  // namespace pleiad::routing
