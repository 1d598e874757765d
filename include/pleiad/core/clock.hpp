// Wall-clock time per named phase of a step (seconds). A phase opened inside another one is charged to the inner one only,
// so the phases of a step add up to the step.
#pragma once
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad {

class Stopwatch {
 public:
  Stopwatch() : start_(now()) {}
  double seconds() const { return now() - start_; }
  void restart() { start_ = now(); }
  /// Seconds on a monotonic clock.
  static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

 private:
  double start_;
};

/// 1:02:03, 4:05 or 12 s.
std::string duration(double seconds);

enum class Phase { data, embed, attention, norm, router, plan, exchange, expert, dense_ffn, head, grad_sync, optimizer, evaluate, checkpoint, metrics, count };

inline constexpr int k_phase_count = static_cast<int>(Phase::count);
const char* phase_name(Phase p);

/// A stretch of time charged to one phase: seconds of Stopwatch::now(), and the block of the model (-1: none).
struct PhaseInterval {
  Phase phase = Phase::count;
  i64 block = -1;
  double begin = 0, end = 0;
};

class PhaseTimes {
 public:
  /// Charges the time until destruction to one phase.
  class Scope {
   public:
    Scope(PhaseTimes& times, Phase phase);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    PhaseTimes& times_;
    Phase outer_;
  };

  double seconds(Phase p) const { return seconds_[static_cast<int>(p)]; }
  std::vector<double> all() const { return {seconds_, seconds_ + k_phase_count}; }
  /// All to zero, and no intervals; a phase that is open goes on from here.
  void reset();
  /// Whether to keep, from here on, every stretch of time that is charged to a phase.
  void note_intervals(bool on) { noting_ = on; }
  /// What was kept since the last reset(), in order of time; it adds up to seconds(). Empties the list.
  std::vector<PhaseInterval> take_intervals() { return std::exchange(intervals_, {}); }
  /// The block of the model that is at work from here on; -1: none.
  void at_block(i64 block) { block_ = block; }

 private:
  void switch_to(Phase p);

  double seconds_[k_phase_count] = {};
  Phase current_ = Phase::count;
  double since_ = 0;
  bool noting_ = false;
  i64 block_ = -1;
  std::vector<PhaseInterval> intervals_;
};

}  // namespace pleiad
