// What all ranks do together, in seconds: as the prediction has it, and as calibration prints it beside what was measured.
#pragma once
#include "pleiad/sim/cluster.hpp"

namespace pleiad::sim {

/// A sum of so many bytes over the first `ranks` ranks, in seconds: by recursive doubling or around a ring, whichever is faster. pre: as many nodes as that takes.
double all_reduce_seconds(const Cluster& cluster, i64 ranks, double bytes);

/// The same of so many bytes from each rank to each other one (MPI_Alltoallv), as flat exchanges send them.
double all_to_all_seconds(const Cluster& cluster, i64 ranks, double bytes);

}  // namespace pleiad::sim
