// pleiad sweep submit DIR: points that are not finished to SLURM, as one job array per number of ranks, and a job that collects after them.
#include "pleiad/app/sweep_submit.hpp"

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/sweep_folder.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/sweep/slurm_submit.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

constexpr i64 k_usual_array_size = 1001;  // MaxArraySize if nobody changed it

options::options_description described(sweep::SlurmOptions& o) {
  const auto text = [](std::string& value) { return options::value<std::string>(&value); };
  const auto count = [](i64& value) { return options::value<i64>(&value); };
  const auto lines = [](std::vector<std::string>& value) { return options::value<std::vector<std::string>>(&value)->composing(); };
  options::options_description d("options");
  d.add_options()("dir", options::value<std::string>(), "folder of a sweep, also without --dir")(
      "dry-run", options::bool_switch(), "print the scripts, write and submit nothing; works without SLURM")(
      "launcher", text(o.launcher)->default_value(o.launcher), "what starts the ranks: srun, mpirun")(
      "mpi", text(o.mpi)->default_value(o.mpi), "--mpi of srun ('srun --mpi=list')")(
      "nodes", count(o.nodes), "nodes of a point; SLURM decides unless this or the next is given")(
      "ranks-per-node", count(o.ranks_per_node), "ranks on each node")(
      "ranks-per-numa", count(o.ranks_per_numa), "ranks on each NUMA domain; with --numa-per-node")(
      "numa-per-node", count(o.numa_per_node), "NUMA domains of a node ('lscpu')")(
      "cpus-per-rank", count(o.cpus_per_rank)->default_value(o.cpus_per_rank), "cores of a rank; parallel.blas_threads of them are used")(
      "binding", text(o.binding)->default_value(o.binding), "none; cores: each rank its own; numa: the cores of a NUMA domain")(
      "time", text(o.time), "time limit of a point, as for sbatch; a longer run goes back to the queue")(
      "signal", count(o.signal)->default_value(o.signal), "seconds before the limit at which a run saves; 0: never")(
      "no-requeue", options::bool_switch(), "do not go back to the queue at the time limit")(
      "throttle", count(o.throttle), "points of an array that may run at the same time")(
      "partition", text(o.partition), "of sbatch, as are the next six")("account", text(o.account), "")("qos", text(o.qos), "")(
      "constraint", text(o.constraint), "")("reservation", text(o.reservation), "")("mem", text(o.mem), "")(
      "exclusive", options::bool_switch(&o.exclusive), "whole nodes")(
      "sbatch", lines(o.sbatch), "another option of sbatch, such as --sbatch=--gres=lustre:1; may be repeated")(
      "scratch", text(o.scratch), "node-local folder that data are copied to first; may name a variable of the node, as in '$SLURM_TMPDIR'")(
      "setup", lines(o.setup), "line of shell to run first, such as 'module load openmpi'; may be repeated");
  return d;
}

/// A rank must have the cores that its configuration uses.
void require_cores(const io::SweepIndex& index, const sweep::SubmitPlan& plan, i64 cpus_per_rank) {
  std::set<std::string> submitted;
  PointReader reader(index);
  for (const sweep::ArrayJob& job : plan.arrays) submitted.insert(job.points.begin(), job.points.end());
  for (const io::SweepPoint& point : index.points) {
    if (!submitted.contains(point.name)) continue;
    const i64 threads = reader.threads(point);
    if (threads > cpus_per_rank) user_error("--cpus-per-rank {}: point {} has parallel.blas_threads = {}; must be at least that", cpus_per_rank, point.name, threads);
  }
}

std::string left_out(const sweep::SubmitPlan& plan) {
  std::string text;
  for (const auto& [count, what] : {std::pair{plan.finished, "finished"}, {plan.queued, "running or in the queue"}, {plan.damaged, "damaged"}}) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "left out: " : ", ", count, what);
  }
  return text;
}

void print_scripts(const sweep::SubmitPlan& plan) {
  for (const sweep::SubmitPlan::File& file : plan.files) std::cout << fmt::format("==> {}/{} <==\n{}\n", plan.common.folder, file.name, file.text);
}

}  // namespace

int run_sweep_submit(const comm::Communicator& world, const Arguments& arguments) {
  sweep::SlurmOptions slurm;
  Values values;
  if (!parse_arguments(world, arguments,
                       "usage: pleiad sweep submit DIR [options]\nGives every point that is not finished to SLURM: one job array per number of ranks, and a job that collects the\n"
                       "results afterwards. Scripts and job numbers are kept in DIR/slurm. See docs/cluster.md.",
                       described(slurm), "dir", values)) {
    return k_exit_ok;
  }
  if (std::getenv("OMPI_COMM_WORLD_SIZE")) user_error("sweep submit: is one process; start it without mpirun");
  slurm.requeue = !values["no-requeue"].as<bool>();
  const std::string folder = value_or<std::string>(values, "dir", "");
  if (folder.empty()) user_error("sweep submit: no folder of a sweep given; usage: pleiad sweep submit DIR");
  const bool dry_run = values["dry-run"].as<bool>();

  sweep::check_slurm_options(slurm);
  const io::SweepIndex index = io::read_sweep_index(folder);
  std::string problem;
  const std::vector<sweep::PointStatus> status = sweep::point_statuses(index, dry_run ? &problem : nullptr);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const sweep::SubmitPlan plan = sweep::plan_submission(index, status, slurm, program, dry_run ? k_usual_array_size : sweep::max_array_size());
  require_cores(index, plan, slurm.cpus_per_rank);

  const std::string others = left_out(plan);
  if (plan.damaged > 0) std::cerr << fmt::format("note: damaged points are not submitted; 'pleiad sweep rerun {}' begins them anew\n", shell_word(folder));
  if (plan.arrays.empty()) {
    std::cout << fmt::format("nothing to submit; {}\n", others);
    return k_exit_ok;
  }
  if (dry_run) {
    print_scripts(plan);
    return k_exit_ok;
  }
  const sweep::SubmittedJobs jobs = sweep::submit(plan);
  for (std::size_t i = 0; i < jobs.arrays.size(); ++i) {
    const auto counted = [](i64 n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); };
    const sweep::ArrayJob& array = plan.arrays[i];
    std::cout << fmt::format("job {}: {} of {}\n", jobs.arrays[i].job, counted(static_cast<i64>(array.points.size()), "point"), counted(array.ranks, "rank"));
  }
  std::cout << fmt::format("job {}: collects the results afterwards\n{}{}scripts and what SLURM prints: {}\n", jobs.collect, others, others.empty() ? "" : "\n", plan.common.folder);
  return k_exit_ok;
}

}  // namespace pleiad::app
