// Where this process is in its work, for a thread that watches over it (comm/watchdog.hpp). Written by the thread that works, read by the other one.
#pragma once
#include <atomic>

#include "pleiad/core/real.hpp"

namespace pleiad {

struct Whereabouts {
  std::atomic<i64> step{0};
  std::atomic<int> phase{-1};             ///< a Phase (clock.hpp)
  std::atomic<i64> block{-1};             ///< of the model; -1: none
  std::atomic<i64> moves{0};              ///< changes of phase since the step began
  std::atomic<const char*> wait{nullptr};  ///< what it waits for in MPI: a name that stays; null while it computes

  /// An update begins. The same on all ranks.
  void begin_step(i64 number) {
    step.store(number, std::memory_order_relaxed);
    moves.store(0, std::memory_order_relaxed);
  }
  void move_to(int new_phase, i64 new_block) {
    phase.store(new_phase, std::memory_order_relaxed);
    block.store(new_block, std::memory_order_relaxed);
    moves.fetch_add(1, std::memory_order_relaxed);
  }
};

/// Of this process.
Whereabouts& whereabouts();

/// While it lives, the process waits for `what` (text that stays).
class Waiting {
 public:
  explicit Waiting(const char* what) : before_(whereabouts().wait.exchange(what, std::memory_order_relaxed)) {}
  ~Waiting() { whereabouts().wait.store(before_, std::memory_order_relaxed); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  const char* before_;
};

}  // namespace pleiad
