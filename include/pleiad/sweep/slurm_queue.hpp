// Talks to SLURM through its commands: submits scripts, asks what is in the queue, and remembers in SWEEP/slurm/N/jobs.json which element of
// which job array runs which point. One process only.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/sweep/point_state.hpp"
#include "pleiad/sweep/slurm_script.hpp"

namespace pleiad::sweep {

/// What a finished program left.
struct Outcome {
  int code = 0;  ///< 127: there is no such program; 128 + signal
  std::string out, err;
};
/// Runs a program with nothing to read and waits for it. MPI puts variables of its own into the environment, and a job would inherit them: the
/// program gets the environment that we were started with. UserError if no process can be made.
Outcome run_program(const std::vector<std::string>& arguments);

/// Elements that one array may have. UserError if SLURM does not answer.
i64 max_array_size();

/// The number of the new job. UserError with what sbatch said.
std::string submit_script(const std::string& script, const std::vector<std::string>& options = {});

/// One 'pleiad sweep submit': DIR/slurm/N/jobs.json.
struct SubmittedArray {
  std::string job;                  ///< of SLURM
  std::vector<std::string> points;  ///< their names, by element
};
struct SubmittedJobs {
  std::vector<SubmittedArray> arrays;
  std::string collect;              ///< job that collects; empty: none
};
void write_jobs(const std::string& folder, const SubmittedJobs& jobs);
/// Every submission of a sweep, oldest first. UserError for a damaged file.
std::vector<SubmittedJobs> read_all_jobs(const std::string& sweep);
/// SWEEP/slurm/N that does not exist yet; nothing is made.
std::string next_submission_folder(const std::string& sweep);

/// A point that SLURM still has.
struct QueuedPoint {
  std::string element;  ///< JOB_INDEX
  std::string state;    ///< as squeue says: RUNNING, PENDING, ...
  std::string reason;   ///< why it waits; empty: it does not
};
/// By name of the point, from what squeue printed: lines "JOB|INDEX|STATE|REASON".
std::map<std::string, QueuedPoint> queued_points(const std::vector<SubmittedJobs>& submissions, const std::string& squeue_output);

/// How every point of a sweep is doing, as its folder and the queue say. squeue is asked once, and not at all if nothing was ever submitted. If it
/// does not answer, `problem` says why and the folders have to do; without `problem` that is a UserError.
std::vector<PointStatus> point_statuses(const io::SweepIndex& index, std::string* problem = nullptr);

}  // namespace pleiad::sweep
