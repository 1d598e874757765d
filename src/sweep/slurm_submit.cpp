#include "pleiad/sweep/slurm_submit.hpp"

#include <filesystem>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::sweep {

namespace {

constexpr const char* k_collect_file = "collect.sbatch";

}  // namespace

SubmitPlan plan_submission(const io::SweepIndex& index, const std::vector<PointStatus>& status, const SlurmOptions& options, const std::string& program,
                           i64 max_array_size) {
  check_slurm_options(options);
  SubmitPlan plan;
  std::vector<std::string> names;
  std::vector<i64> ranks;
  for (std::size_t i = 0; i < index.points.size(); ++i) {
    const io::SweepPoint& point = index.points[i];
    const PointStatus& s = status[i];
    if (s.config_changed) user_error("{}/point.ini: was changed since the sweep was planned; put it back, or plan another sweep", index.path_of(point));
    if (s.state == State::finished) {
      ++plan.finished;
    } else if (s.state == State::damaged) {
      ++plan.damaged;
    } else if (s.state == State::running || (s.state == State::waiting && !s.job.empty())) {
      ++plan.queued;
    } else {
      names.push_back(point.name);
      ranks.push_back(point.ranks);
    }
  }
  const std::string sweep = std::filesystem::absolute(index.folder).lexically_normal().string();
  plan.common = {index.name, sweep.ends_with('/') ? sweep.substr(0, sweep.size() - 1) : sweep, "", program};
  plan.common.folder = next_submission_folder(plan.common.sweep);
  if (names.empty()) return plan;
  plan.arrays = arrays_of(names, ranks, max_array_size);
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
