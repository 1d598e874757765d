// Runs points on this machine, as many at once as there are cores for. Each is a process of its own (mpirun where a point has several
// ranks); what it says goes to output.txt of its folder.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pleiad/io/sweep_index.hpp"

namespace pleiad::sweep {

struct LocalOptions {
  std::string program;               ///< this program
  std::string launcher = "mpirun";
  i64 cores = 1;
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::function<bool()> stop;        ///< asked often; once it says so the points that run are told to save and stop
};

/// A point and the cores it keeps busy.
struct Job {
  const io::SweepPoint* point = nullptr;
  i64 cores = 1;
};

/// What happened.
struct Event {
  enum class Kind { started, ended, waiting } kind;
  const io::SweepPoint* point = nullptr;  ///< of started and ended
  int code = 0;                           ///< of ended; 128 + signal of a killed one
  i64 running = 0, left = 0;              ///< points that run, and that wait for a core
};

/// Runs all of `jobs` in their order, skipping ahead over one that needs more cores than are free. `tell` hears of every event, and of
/// waiting about once a second. Returns the number of points that did not end with 0. UserError if a process cannot be started.
i64 run_locally(const io::SweepIndex& index, const std::vector<Job>& jobs, const LocalOptions& options, const std::function<void(const Event&)>& tell);

/// Cores this process may use.
i64 available_cores();
/// The environment this process was started with, NAME=value each: MPI adds variables of its own, which would mislead programs started from
/// here. The present one where the system does not tell.
std::vector<std::string> first_environment();
/// The same, made fit for the launcher: several runs side by side on one machine.
std::vector<std::string> local_environment();

}  // namespace pleiad::sweep
