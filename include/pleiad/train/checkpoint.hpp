// What a checkpoint holds, and the interface to whoever stores it (io).
#pragma once
#include <optional>

#include "pleiad/core/param.hpp"
#include "pleiad/train/optimizer.hpp"

namespace pleiad::train {

/// Everything that the next step depends on beside the configuration: random numbers are functions of the step, batches of the data cursor.
struct TrainState {
  ParamSet& params;
  Adam& adam;
  i64 step = 0;  ///< updates done
  i64 batches_passed_over = 0;  ///< batches that no step had, after a rollback
  i64 bad_steps = 0;            ///< steps so far that had numbers which are not finite
  std::optional<double> validation_loss = {};  ///< held-out loss of these very weights, nats, if it was measured
  /// Batches before the next one.
  i64 data_cursor() const { return step + batches_passed_over; }
};

class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;
  /// Writes the state so that a kill at any moment leaves the previous checkpoint or this one. Returns its size in bytes. collective.
  virtual i64 save(const TrainState& state) = 0;
};

}  // namespace pleiad::train
