// The results of a sweep in one table: collected.h5 (format pleiad-sweep/1, docs/file_format.md) and collected.csv, one row per point.
#pragma once
#include "pleiad/sweep/point_state.hpp"

namespace pleiad::sweep {

inline constexpr const char* k_collected_format = "pleiad-sweep/1";

/// Writes both files into the folder of the sweep, each replaced as a whole. `status` of each point; only finished ones have results. A point
/// whose record cannot be read counts as damaged, which is noted in `status`. Returns how many have results. UserError if the files cannot be
/// written. One rank only.
i64 collect(const io::SweepIndex& index, std::vector<PointStatus>& status);

}  // namespace pleiad::sweep
