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
  i64 finished = 0, queued = 0, damaged = 0;  ///< points left out
  struct File {
    std::string name, text;      ///< below common.folder
  };
  std::vector<File> files;       ///< scripts and lists of points
};

/// What submitting would do now; nothing is written. Left out are points that are finished, run, or are in the queue, and damaged ones, which
/// must begin anew first; failed ones are tried again. UserError for options that make no sense for these points.
SubmitPlan plan_submission(const io::SweepIndex& index, const std::vector<PointStatus>& status, const SlurmOptions& options, const std::string& program,
                           i64 max_array_size);

/// Writes the files, submits the arrays and the job that collects after them, and records the jobs. UserError with what sbatch says; arrays that
/// were accepted before are recorded then too.
SubmittedJobs submit(const SubmitPlan& plan);

}  // namespace pleiad::sweep
