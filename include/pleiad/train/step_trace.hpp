// When each rank was in which phase of one step, gathered on rank 0 to be written down.
#pragma once
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/clock.hpp"

namespace pleiad::train {

/// Ranks beyond so many are left out.
inline constexpr i64 k_most_traced_ranks = 64;

struct StepTrace {
  struct Event {
    i64 rank = 0;
    i64 phase = 0;           ///< of core/clock.hpp; k_whole_step: the step itself, from its batch to its update
    i64 block = -1;          ///< of the model; -1: none
    i64 begin = 0, end = 0;  ///< nanoseconds since the epoch, by the clock of the rank's host
  };
  static constexpr i64 k_whole_step = -1;
  std::vector<Event> events;  ///< rank after rank, in order of time
};

/// Nanoseconds since the epoch at time 0 of Stopwatch::now().
i64 epoch_of_stopwatch();

/// `step` holds the step's begin and end in block -1; its phase does not count. Empty except on rank 0. collective.
StepTrace gather_trace(const comm::Communicator& world, const std::vector<PhaseInterval>& phases, const PhaseInterval& step, i64 epoch);

}  // namespace pleiad::train
