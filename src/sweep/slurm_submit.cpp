#include "pleiad/sweep/slurm_submit.hpp"

#include <algorithm>
#include <filesystem>

#include "pleiad/core/error.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::sweep {

namespace {

constexpr i64 k_default_array_size = 1001;  // of SLURM

constexpr const char* k_collect_file = "collect.sbatch";

}  // namespace

SubmitPlan plan_submission(const io::SweepIndex& index, const SlurmOptions& options, const std::string& program, const std::vector<std::string>& only, bool offline) {
  check_slurm_options(options);
  const std::map<std::string, QueuedPoint> queued = offline ? std::map<std::string, QueuedPoint>() : queued_points(index.folder);
  SubmitPlan plan;
  std::vector<std::string> names;
  std::vector<i64> ranks;
  for (const io::SweepPoint& point : index.points) {
    if (!only.empty() && std::find(only.begin(), only.end(), point.name) == only.end()) continue;
    if (queued.contains(point.name)) {
      ++plan.queued;
    } else if (io::check_marker(index.path_of(point), point.identity).finished) {
      ++plan.finished;
    } else {
      names.push_back(point.name);
      ranks.push_back(point.ranks);
    }
  }
  const std::string sweep = std::filesystem::absolute(index.folder).lexically_normal().string();
  plan.common = {index.name, sweep.ends_with('/') ? sweep.substr(0, sweep.size() - 1) : sweep, "", program};
  plan.common.folder = next_submission_folder(plan.common.sweep);
  if (names.empty()) return plan;
  plan.arrays = arrays_of(names, ranks, offline ? k_default_array_size : max_array_size());
  for (const ArrayJob& job : plan.arrays) {
    plan.files.push_back({job.points_file(), points_text(job)});
    plan.files.push_back({job.script_file(), array_script(options, plan.common, job)});
  }
  plan.files.push_back({k_collect_file, collect_script(options, plan.common)});
  return plan;
}

SubmittedJobs submit(const SubmitPlan& plan) {
  const std::string& folder = plan.common.folder;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) user_error("{}: cannot be created ({})", folder, error.message());
  for (const SubmitPlan::File& file : plan.files) io::replace_whole(folder + "/" + file.name, file.text, false);
  SubmittedJobs jobs;
  std::string after = "--dependency=afterany";
  for (const ArrayJob& job : plan.arrays) {
    jobs.arrays.push_back({submit_script(folder + "/" + job.script_file()), job.points});
    after += ":" + jobs.arrays.back().job;
    // After each one: what is in the queue is known even if the next is refused.
    write_jobs(folder, jobs);
  }
  jobs.collect = submit_script(folder + "/" + k_collect_file, {after});
  write_jobs(folder, jobs);
  return jobs;
}

}  // namespace pleiad::sweep
