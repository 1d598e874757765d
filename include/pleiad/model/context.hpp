// What every layer is told about the step at hand. Passed down, never stored.
#pragma once
#include "pleiad/comm/grid.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/matrix.hpp"

namespace pleiad::model {

struct StepContext {
  const comm::ProcessGrid& grid;
  const LaneLayout& lanes;  ///< how this batch is cut over lanes and ranks
  PhaseTimes& times;
  std::uint64_t seed = 0;
  i64 step = 0;
  bool training = true;
  // As in routing::RoutingContext.
  ConstMatrixView given_noise = {};
  std::span<const std::int32_t> token_ids = {};
  std::span<const std::uint8_t> real_tokens = {};
  i64 real_in_batch = -1;
};

/// Calls f(my lane, first local row, rows) for every lane of this rank that has tokens.
template <class F>
void for_each_lane(const LaneLayout& lanes, F f) {
  for (i64 lane = 0; lane < lanes.my_lanes().count; ++lane) {
    const Range rows = lanes.local_rows(lane);
    if (rows.count) f(lane, rows.begin, rows.count);
  }
}

}  // namespace pleiad::model
