// Batch scripts for SLURM: the array that runs the points of a sweep and the job that collects them afterwards. Pure text; who submits it
// is sweep/slurm_submit.hpp. Every script is a head made here and, for the array, the body slurm/job.sh, which slurm/train.sbatch has too.
#pragma once
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::sweep {

/// Where ranks go and what the queue is told; named like the options of 'pleiad sweep submit'. Empty or 0: not asked for.
struct SlurmOptions {
  std::string launcher = "srun";   ///< srun, mpirun
  std::string mpi = "pmix";        ///< srun --mpi=
  i64 nodes = 0;
  i64 ranks_per_node = 0;
  i64 ranks_per_numa = 0, numa_per_node = 0;
  i64 cpus_per_rank = 1;
  std::string binding = "cores";   ///< none, cores, numa
  std::string time;                ///< limit of each element, in SLURM's notation
  i64 signal = 120;                ///< seconds before the limit at which a run saves; 0: never
  bool requeue = true;
  i64 throttle = 0;                ///< elements of an array that run at the same time
  std::string partition, account, qos, constraint, reservation, mem;
  bool exclusive = false;
  std::vector<std::string> sbatch;  ///< further options, one "--name=value" each
  std::string scratch;              ///< node-local folder; may name variables of the node, such as $SLURM_TMPDIR
  std::vector<std::string> setup;   ///< lines of shell that run first, such as "module load openmpi"
};

/// UserError unless the values and their combinations make sense.
void check_slurm_options(const SlurmOptions& options);

/// How the ranks of a job are spread. nodes and ranks_per_node are 0 where SLURM decides.
struct Placement {
  i64 ranks = 1, nodes = 0, ranks_per_node = 0;
};
/// UserError if so many ranks do not fill nodes as the options ask.
Placement place_ranks(const SlurmOptions& options, i64 ranks);

/// One job array: points that have the same number of ranks.
struct ArrayJob {
  std::string name;                 ///< RANKS or RANKS-PART
  i64 ranks = 1;
  std::vector<std::string> points;  ///< their names; element i of the array is points[i]
  std::string script_file() const { return "array-" + name + ".sbatch"; }
  std::string points_file() const { return "points-" + name + ".txt"; }
};
/// Arrays by number of ranks, in the order of the points, none longer than `max_array_size` elements.
std::vector<ArrayJob> arrays_of(const std::vector<std::string>& names, const std::vector<i64>& ranks, i64 max_array_size);

/// What all scripts of a submission have in common. Paths are absolute.
struct Submission {
  std::string name;     ///< of the sweep
  std::string sweep;    ///< its folder
  std::string folder;   ///< of the scripts, SWEEP/slurm/N
  std::string program;  ///< pleiad
};

/// The file that element i reads its point from, in line i + 1.
std::string points_text(const ArrayJob& job);
std::string array_script(const SlurmOptions& options, const Submission& submission, const ArrayJob& job);
/// One task that collects the results; submitted with a dependency on the arrays.
std::string collect_script(const SlurmOptions& options, const Submission& submission);

/// slurm/job.sh.
extern const char* const k_job_script;

}  // namespace pleiad::sweep
