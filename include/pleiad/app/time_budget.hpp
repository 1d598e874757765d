// How long a run may take: [checkpoint] time_budget, or the end of the SLURM job it runs in.
#pragma once
#include <string>

#include "pleiad/app/config.hpp"
#include "pleiad/core/clock.hpp"

namespace pleiad::app {

/// The two keys, checked.
struct TimeBudgetConfig {
  std::string budget;  ///< auto, none, or a time in SLURM's notation
  i64 seconds = 0;     ///< of such a time
  double reserve = 0;  ///< seconds
  static TimeBudgetConfig read(Spec& checkpoint);
};

class TimeBudget {
 public:
  /// Begins now. `auto` is the end of the SLURM job that SLURM_JOB_END_TIME tells (seconds since 1970), or no budget.
  explicit TimeBudget(const TimeBudgetConfig& config);

  /// To be asked once per step, at the same place: whether so little is left that twice the longest time between two questions so far, for another step and
  /// for a save, might not fit. Stays so. Local.
  bool spent();
  bool was_spent() const { return spent_; }
  /// What it was, in words.
  const std::string& words() const { return words_; }

 private:
  bool limited_ = false, spent_ = false;
  double end_ = 0, reserve_ = 0;  // Stopwatch::now() when it is over; seconds
  double asked_ = -1, longest_ = 0;
  std::string words_;
};

}  // namespace pleiad::app
