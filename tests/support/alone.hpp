// A process grid of this rank alone: the truth that distributed results are compared with. Programs that are started without
// mpirun (gradient tests) include start_mpi.hpp too.
#pragma once
#include "pleiad/comm/grid.hpp"

namespace pleiad::test {

/// A communicator of this rank alone. collective over the world.
inline comm::Communicator just_me() {
  const comm::Communicator world = comm::Communicator::world();
  return world.split(world.rank(), 0);
}

inline comm::ProcessGrid grid_of_all(i64 data_groups = 1) { return {comm::Communicator::world(), data_groups}; }
inline comm::ProcessGrid grid_of_me() { return {just_me(), 1}; }

}  // namespace pleiad::test
