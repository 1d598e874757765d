// The clocks of many ranks that work by themselves and meet: who waits for whom, where, and along which way the last one came.
#pragma once
#include <array>
#include <vector>

#include "pleiad/core/clock.hpp"

namespace pleiad::sim {

class Clocks {
 public:
  /// Ranks in groups of equal size that follow each other. pre: groups divides ranks.
  Clocks(i64 ranks, i64 groups);

  /// A rank is in a phase for so long.
  void spend(i64 rank, Phase phase, double seconds);
  /// All ranks of a group wait in `phase` for the last of them, and a message that takes `seconds` more tells them.
  void meet_group(i64 group, Phase phase, double seconds);
  /// The same of all ranks.
  void meet(Phase phase, double seconds);

  i64 ranks() const { return static_cast<i64>(now_.size()); }
  double now(i64 rank) const { return now_[static_cast<std::size_t>(rank)]; }
  double last() const;
  /// Of each rank by phase, waits included, as a record of training has them; [ranks x k_phase_count].
  const std::vector<double>& phase_seconds() const { return spent_; }
  /// Of these, waits for others, [ranks].
  const std::vector<double>& wait_seconds() const { return waited_; }

  /// What the last rank did, and before it met the others those it had waited for, back to the start: seconds by phase, without waits. pre: everybody met at last.
  const std::array<double, k_phase_count>& path() const { return paths_.front(); }
  /// Seconds that each rank contributes to the paths of its group, [ranks].
  const std::vector<double>& path_by_rank() const { return path_by_rank_; }

 private:
  i64 last_of(i64 begin, i64 end) const;
  void wait(i64 begin, i64 end, Phase phase, double seconds);
  void extend_path(i64 group, i64 rank);

  i64 group_size_;
  std::vector<double> now_, spent_, met_, waited_, path_by_rank_;  // met_: spent_ when the rank last met others
  std::vector<std::array<double, k_phase_count>> paths_;           // of each group
};

}  // namespace pleiad::sim
