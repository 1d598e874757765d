// The clocks of many ranks that work by themselves and meet: who waits for whom, where, and along which way the last one came.
#pragma once
#include <array>
#include <vector>

#include "pleiad/core/clock.hpp"

namespace pleiad::sim {

/// The processors of a node, and how many ranks there are on it.
struct Processors {
  i64 ranks = 1, cores = 1;
};

class Clocks {
 public:
  /// Ranks in groups of equal size that follow each other. Where a node has more ranks than processors, each of these has as many ranks; those of one that still have something to compute share it equally until they
  /// meet, and those that wait give their part away. pre: groups divides ranks.
  Clocks(i64 ranks, i64 groups, const Processors& node = {});

  /// A rank is in a phase for so long, whatever others on its node do.
  void spend(i64 rank, Phase phase, double seconds);
  /// A rank needs a processor for so long.
  void compute(i64 rank, Phase phase, double seconds);
  /// All ranks of a group wait in `phase` for the last of them, and a message that takes `seconds` more tells them.
  void meet_group(i64 group, Phase phase, double seconds);
  /// The same of all ranks.
  void meet(Phase phase, double seconds);

  i64 ranks() const { return static_cast<i64>(now_.size()); }
  /// Of the last rank. What was computed since ranks met is shared out as if they met now.
  double last();
  // pre of all below: everybody met at last
  double now(i64 rank) const { return now_[static_cast<std::size_t>(rank)]; }
  /// Of each rank by phase, waits included, as a record of training has them; [ranks x k_phase_count].
  const std::vector<double>& phase_seconds() const { return spent_; }
  /// Of these, waits for others, [ranks].
  const std::vector<double>& wait_seconds() const { return waited_; }

  /// What the last rank did, and before it met the others those it had waited for, back to the start: seconds by phase, without waits.
  const std::array<double, k_phase_count>& path() const { return paths_.front(); }
  /// Seconds that each rank contributes to the paths of its group, [ranks].
  const std::vector<double>& path_by_rank() const { return path_by_rank_; }

 private:
  struct Piece {
    Phase phase;
    double seconds;
  };
  i64 last_of(i64 begin, i64 end) const;
  void wait(i64 begin, i64 end, Phase phase, double seconds);
  void extend_path(i64 group, i64 rank);
  void share_processors(i64 begin, i64 end);
  void share_processor(const std::vector<i64>& together, double speed);

  i64 group_size_;
  Processors node_;
  std::vector<double> now_, spent_, met_, waited_, path_by_rank_;  // met_: spent_ when the rank last met others
  std::vector<std::array<double, k_phase_count>> paths_;           // of each group
  std::vector<std::vector<Piece>> computed_;                       // [ranks] since they met, where processors are shared
  i64 meetings_ = 0;                                               // of nodes whose processors are shared
};

}  // namespace pleiad::sim
