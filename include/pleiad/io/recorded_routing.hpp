// The routing of a run (routing.h5, written by routing_record.hpp) as what a prediction replays.
#pragma once
#include "pleiad/sim/demand.hpp"

namespace pleiad::io {

/// Kept assignments of the last steps recorded, as many steps as have at most `most_sequences` sequences together (at least one). UserError for a file of another kind or one that is damaged,
/// or that has no step.
sim::Recording read_recorded_routing(const std::string& path, i64 most_sequences);

}  // namespace pleiad::io
