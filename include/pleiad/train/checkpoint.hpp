// What a checkpoint holds, and the interface to whoever stores it (io).
#pragma once
#include <optional>

#include "pleiad/core/param.hpp"
#include "pleiad/train/optimizer.hpp"

namespace pleiad::train {

/// Everything that the next step depends on beside the configuration: random numbers and batches are functions of the step.
struct TrainState {
  ParamSet& params;
  Adam& adam;
  i64 step = 0;  ///< updates done
  std::optional<double> validation_loss = {};  ///< held-out loss of these very weights, nats, if it was measured
};

class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  /// Writes the state so that a kill at any moment leaves the previous checkpoint or this one. Returns its size in bytes. collective.
  virtual i64 save(const TrainState& state) = 0;
};

}  // namespace pleiad::train
