// What every layer is told about the step at hand. Passed down, never stored.
#pragma once
#include "pleiad/comm/grid.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/lanes.hpp"
#include "pleiad/core/param.hpp"

namespace pleiad::model {

/// Is told how far backward has come. Backward goes through the parameters in the reverse order of ParamSet::add().
class BackwardListener {
 public:
  virtual ~BackwardListener() = default;
  /// The gradients of `first` and of all replicated parameters that were added after it are complete.
  virtual void complete_from(ParamId first) = 0;
  /// Called often, between pieces of work: messages under way can travel on.
  virtual void look_after_messages() = 0;
};

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
  BackwardListener* listener = nullptr;
  double auxiliary = 1;  ///< factor of the auxiliary losses in backward

  void complete_from(ParamId first) const {
    if (listener) listener->complete_from(first);
  }
  void look_after_messages() const {
    if (listener) listener->look_after_messages();
  }
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
