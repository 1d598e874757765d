// Notices that a job has stopped moving. MPI waits for ever: a rank that was stopped, that loops or whose machine went away leaves all others in a collective
// call until the job's time is over. A thread of every rank tells rank 0 each moment where its rank is, over sockets that have nothing to do with MPI; if a rank
// is not heard of, or nothing moves, for `seconds`, the job ends with one message that says who is where. Read next: judge().
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

/// What is known of a rank.
struct RankState {
  double silent = 0;   ///< seconds since it was last heard of
  double idle = 0;     ///< seconds since it last changed its phase
  bool gone = false;   ///< its process has closed the connection without saying goodbye
  bool done = false;   ///< it has said goodbye
  i64 step = 0, block = -1, moves = 0;
  int phase = -1;
  std::string wait;    ///< the MPI call it is in; empty: it computes
  i64 rank = -1;       ///< if the list is not of all ranks; -1: its place in the list
};

/// What is wrong, in words, or nothing. `host` in the same order.
std::string judge(const std::vector<RankState>& ranks, const std::vector<std::string>& host, double seconds);

class Watchdog {
 public:
  /// 0 seconds, or one rank: nobody watches, except that one rank is ended when it stops moving. `then`: what can be done afterwards, a sentence. collective.
  Watchdog(const Communicator& world, double seconds, int exit_code, const std::string& then);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Why nobody watches although asked to; empty otherwise. The same on all ranks.
  const std::string& problem() const { return problem_; }

 private:
  class Thread;
  std::string problem_;
  std::unique_ptr<Thread> thread_;
};

}  // namespace pleiad::comm
