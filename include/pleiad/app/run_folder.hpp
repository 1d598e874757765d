// The folder of a run: made for a new one, and written by one process at a time.
#pragma once
#include <string>

#include "pleiad/app/file_lock.hpp"
#include "pleiad/comm/communicator.hpp"

namespace pleiad::app {

/// Held by rank 0 from before it looks what there is of a run until it has written it.
class RunLock {
 public:
  /// Takes the run if there is one; of an empty name, for who will write nothing, none. `go_on`: whoever finds a run would go on with it. UserError on all ranks if another process has it. collective.
  RunLock(const comm::Communicator& world, const std::string& run, bool go_on);
  /// Makes the folder of a new run and takes it. UserError on all ranks if that cannot be or there is a run already. collective.
  void make_folder();
  /// The run will be written: takes it if it is not taken yet, and it is not finished from here on (io/run_marker.hpp). UserError on all ranks. collective.
  void begin();

 private:
  void take();
  void refuse_run() const;

  const comm::Communicator& world_;
  std::string run_;
  bool go_on_;
  FileLock lock_;
};

}  // namespace pleiad::app
