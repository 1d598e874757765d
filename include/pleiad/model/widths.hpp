// Widths of heterogeneous experts (HMoE, Wang et al. 2024): distributions with the total width held equal.
#pragma once
#include <vector>

#include "pleiad/core/spec.hpp"

namespace pleiad::model {

/// Reads moe.width_distribution (homogeneous, arithmetic, geometric, hybrid) and moe.width_ratio (widest over narrowest, arithmetic and
/// geometric). The widths, ascending, add up to experts * mean; each is at least 1.
///   arithmetic  evenly spaced, ratio 23/9 by default;   geometric  evenly spaced logarithms, ratio 128 by default
///   hybrid      half of the experts 1 part, a quarter 2 parts, the rest 4 parts
std::vector<i64> distributed_widths(Spec& moe, i64 experts, i64 mean);

}  // namespace pleiad::model
