// Sums over lanes along the fixed binary tree, inside a rank and then across ranks: the bits of the result are the same for
// any number of ranks. Large vectors are summed in slices (each rank finishes one), so a rank sends what a reduce-scatter and
// an all-gather would.
#pragma once
#include <functional>
#include <span>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/lanes.hpp"

namespace pleiad::comm {

/// Row i of `partials` (stride apart, n = total.size() long) is the part of this rank's i-th lane; the rows are destroyed.
/// `total` receives the sum over all lanes on every rank; it may be row 0 itself. T is float or double. collective.
template <class T>
void lane_sum(const Communicator& comm, const LaneLayout& lanes, T* partials, i64 stride, std::span<T> total);

/// The same for a few statistics: `fill(lane, row)` adds the part of this rank's i-th lane to a zeroed row of n numbers.
std::vector<double> lane_statistics(const Communicator& comm, const LaneLayout& lanes, i64 n,
                                    const std::function<void(i64 my_lane, double* row)>& fill);

}  // namespace pleiad::comm
