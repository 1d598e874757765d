// A sweep to SLURM: which points to submit, the files that takes, and the submission. Read before: slurm_script.hpp, slurm_queue.hpp.
#pragma once
#include <string>
#include <vector>

#include "pleiad/io/sweep_index.hpp"
#include "pleiad/sweep/slurm_queue.hpp"

namespace pleiad::sweep {

struct SubmitPlan {
  Submission common;
  std::vector<ArrayJob> arrays;
  i64 finished = 0, queued = 0;  ///< points left out
  struct File {
    std::string name, text;      ///< below common.folder
  };
  std::vector<File> files;       ///< scripts and lists of points
};

/// What submitting would do now; nothing is written. Points that are finished or in the queue are left out. `only`: names of points, empty for
/// all. With `offline`, SLURM is not asked: no point is taken to be in the queue, arrays have SLURM's default limit. UserError for options that
/// make no sense for these points.
SubmitPlan plan_submission(const io::SweepIndex& index, const SlurmOptions& options, const std::string& program, const std::vector<std::string>& only, bool offline);

/// Writes the files, submits the arrays and the job that collects after them, and records the jobs. UserError with what sbatch says; arrays that
/// were accepted before are recorded then too.
SubmittedJobs submit(const SubmitPlan& plan);

}  // namespace pleiad::sweep
