// Choosing experts from scores, and turning probabilities into combine weights and back. Ties go to the lower expert number.
#pragma once
#include "pleiad/routing/assignment.hpp"

namespace pleiad::routing {

/// The k best scores of every row [T,N], best first; all kept, weights unset (0).
Assignment select_top_k(ConstMatrixView scores, i64 k);

/// weight = p of the entry, or p divided by the sum of p over the token's entries.
void weigh_by_probability(Assignment& a, ConstMatrixView p, bool renormalize);
/// Adds the gradient that reaches p through the weights to d_p [T,N].
void weigh_by_probability_backward(const Assignment& a, ConstMatrixView p, bool renormalize, std::span<const real> d_weight,
                                   MatrixView d_p);

}  // namespace pleiad::routing
