// The folder of a run: made for a new one, and written by one process at a time.
#pragma once
#include <string>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::app {

/// Rank 0 looks and makes the folder. UserError on all ranks if it cannot or `out` holds a run already. collective.
void make_run_folder(const comm::Communicator& world, const std::string& out);

/// Held by rank 0 while it writes a run; the system lets go of it when the process ends, however that happens.
class RunLock {
 public:
  /// UserError on all ranks if another process has it. collective.
  RunLock(const comm::Communicator& world, const std::string& run);
  ~RunLock();
  /// The run is not finished from here on (io/run_marker.hpp). UserError on all ranks. collective.
  void forget_marker() const;
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  void take();

  const comm::Communicator& world_;
  std::string run_;
  int file_ = -1;
};

}  // namespace pleiad::app
