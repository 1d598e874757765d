// Learning rate as a function of the step: linear warm-up, then constant, cosine or inverse square root.
#pragma once
#include "pleiad/core/spec.hpp"

namespace pleiad::train {

struct Schedule {
  enum class Kind { constant, cosine, inverse_sqrt } kind = Kind::cosine;
  double peak = 1e-3;
  double floor = 0.1;  ///< cosine ends at this fraction of the peak
  i64 warmup = 0;
  i64 steps = 1;       ///< length of the run

  /// Reads train.learning_rate, schedule, warmup_steps, final_learning_rate; `steps` is train.steps.
  static Schedule read(Spec& train, i64 steps);
  /// Rate of the step counted from 0.
  double at(i64 step) const;
};

}  // namespace pleiad::train
