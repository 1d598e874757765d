// pleiad sweep plan | run | submit | status | rerun | collect: many configurations, from a sweep file to one table of results (docs/sweeps.md).
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/stop_signal.hpp"
#include "pleiad/app/sweep_folder.hpp"
#include "pleiad/app/sweep_progress.hpp"
#include "pleiad/app/sweep_submit.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/sweep/collect.hpp"
#include "pleiad/sweep/local_runner.hpp"
#include "pleiad/sweep/slurm_queue.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

using sweep::PointStatus, sweep::State;

const char* const k_usage =
    "usage: pleiad sweep plan FILE --out DIR [--set section.key=value]   make the folder of a sweep, or add new points to it\n"
    "       pleiad sweep run FILE --out DIR | DIR [--cores N]            run on this machine what is not finished\n"
    "       pleiad sweep submit DIR [options]                            give it to SLURM, as job arrays (docs/cluster.md)\n"
    "       pleiad sweep status DIR [--all]                              how every point is doing\n"
    "       pleiad sweep rerun DIR [--cores N] [--fresh]                 run the failed points again\n"
    "       pleiad sweep collect DIR                                     results of all points to DIR/collected.h5 and collected.csv";

std::vector<PointStatus> statuses(const io::SweepIndex& index) {
  std::string problem;
  std::vector<PointStatus> all = sweep::point_statuses(index, &problem);
  if (!problem.empty()) std::cerr << fmt::format("note: what SLURM is doing is not known ({})\n", problem);
  return all;
}

std::string required_folder(const Values& values, const char* command) {
  const std::string folder = value_or<std::string>(values, "dir", "");
  if (folder.empty()) user_error("sweep {}: no folder of a sweep given; usage: pleiad sweep {} DIR", command, command);
  return folder;
}

void add_plan_options(options::options_description& description) {
  description.add_options()("out", options::value<std::string>(), "folder of the sweep")(
      "set", options::value<std::vector<std::string>>()->composing(), "section.key=value for all points; may be repeated");
}

void add_run_options(options::options_description& description) {
  description.add_options()("cores", options::value<i64>()->default_value(sweep::available_cores()), "cores to use; a point takes its ranks x parallel.blas_threads")(
      "mpirun", options::value<std::string>()->default_value("mpirun"), "what starts points of several ranks");
}

/// Plans the sweep of `file` into --out and says what it did.
std::string planned_folder(const std::string& file, const Values& values) {
  const std::string out = value_or<std::string>(values, "out", "");
  if (out.empty()) user_error("sweep: --out is missing; give the folder of the sweep");
  PlannedSweep plan = plan_sweep(file, value_or<std::vector<std::string>>(values, "set", {}));
  const i64 fresh = make_sweep_folder(plan, out);
  std::cout << fmt::format("sweep {}: {} points in {}, {} of them new\n", plan.index.name, plan.index.points.size(), out, fresh);
  return out;
}

int plan(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("file", options::value<std::string>(), "sweep file, also without --file");
  add_plan_options(description);
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad sweep plan FILE --out DIR [--set section.key=value]\nChecks every point and makes the folder of the sweep; runs nothing. Without --out it only prints the points.", description, "file", values)) return k_exit_ok;
  const std::string file = value_or<std::string>(values, "file", "");
  if (file.empty()) user_error("sweep plan: no sweep file given; usage: pleiad sweep plan FILE --out DIR");
  if (values.count("out")) {
    print_plan(io::read_sweep_index(planned_folder(file, values)));
  } else {
    print_plan(plan_sweep(file, value_or<std::vector<std::string>>(values, "set", {})).index);
  }
  return k_exit_ok;
}

using Wanted = std::function<bool(const io::SweepPoint&, const PointStatus&)>;

/// Points to run, in their order.
std::vector<sweep::Job> jobs_of(const io::SweepIndex& index, const std::vector<PointStatus>& status, const Wanted& wanted) {
  std::vector<sweep::Job> jobs;
  PointReader reader(index);
  for (std::size_t i = 0; i < index.points.size(); ++i) {
    if (status[i].config_changed) {
      user_error("{}/point.ini: was changed since the sweep was planned; put it back, or plan another sweep", index.path_of(index.points[i]));
    }
    if (!wanted(index.points[i], status[i])) continue;
    jobs.push_back({&index.points[i], index.points[i].ranks * reader.threads(index.points[i])});
  }
  return jobs;
}

sweep::LocalOptions local_options(const Values& values) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE")) user_error("sweep run: starts its points with mpirun itself; start it without");
  sweep::LocalOptions o;
  o.program = std::filesystem::read_symlink("/proc/self/exe").string();
  o.launcher = values["mpirun"].as<std::string>();
  o.cores = values["cores"].as<i64>();
  if (o.cores < 1) user_error("--cores {}: must be at least 1", o.cores);
  o.environment = sweep::local_environment();
  o.stop = StopSignal::asked;
  return o;
}

/// What came out, as a table and in words; 75 if stopped, 1 if a point is not finished although it was tried, now or before.
int conclude(const comm::Communicator& world, const io::SweepIndex& index, const std::vector<sweep::Job>& tried) {
  std::vector<PointStatus> status = statuses(index);
  const i64 results = sweep::collect(index, status);
  std::cout << in_words(status) << "\n";
  if (results > 0) {
    std::cout << fmt::format("results: {0}/collected.h5 and {0}/collected.csv; pictures: pleiad report {0} --html {0}.html\n\n", index.folder) << std::flush;
    run_report(world, {index.folder});
  }
  const bool bad = std::ranges::any_of(status, [](const PointStatus& s) { return s.state == State::failed || s.state == State::damaged; });
  if (bad) std::cout << fmt::format("\n'pleiad sweep status {0}' says what failed, 'pleiad sweep rerun {0}' tries again\n", index.folder);
  if (StopSignal::asked()) return k_exit_stopped;
  const bool all = std::ranges::all_of(tried, [&](const sweep::Job& job) { return status[static_cast<std::size_t>(job.point - index.points.data())].state == State::finished; });
  return bad || !all ? k_exit_mismatch : k_exit_ok;
}

/// `prepare` is called for each point that will be run, once it is certain that it will.
int run_points(const comm::Communicator& world, const io::SweepIndex& index, const Wanted& wanted, const sweep::LocalOptions& o,
               const std::function<void(const io::SweepPoint&, const PointStatus&)>& prepare = {}) {
  const StopSignal signals;
  const FileLock lock = lock_sweep(index.folder);
  const std::vector<PointStatus> status = statuses(index);
  const std::vector<sweep::Job> jobs = jobs_of(index, status, wanted);
  std::cout << fmt::format("{}\nrunning {} of them on {} core{}\n", in_words(status), jobs.size(), o.cores, o.cores == 1 ? "" : "s") << std::flush;
  for (const sweep::Job& job : jobs) {
    if (prepare) prepare(*job.point, status[static_cast<std::size_t>(job.point - index.points.data())]);
  }
  SweepProgress progress(index, jobs);
  sweep::run_locally(index, jobs, o, [&](const sweep::Event& e) { progress.tell(e); });
  progress.end();
  return conclude(world, index, jobs);
}

int run(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("dir", options::value<std::string>(), "sweep file, or folder of a sweep");
  add_plan_options(description);
  add_run_options(description);
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad sweep run FILE --out DIR [--set section.key=value]\n       pleiad sweep run DIR\nRuns every point that is not finished, several at once where the cores suffice; a point that was interrupted goes on where it was. Ctrl-C saves.", description, "dir", values)) return k_exit_ok;
  const std::string target = value_or<std::string>(values, "dir", "");
  if (target.empty()) user_error("sweep run: no sweep file and no folder given; usage: pleiad sweep run FILE --out DIR");
  if (!std::filesystem::exists(target)) user_error("sweep run {}: there is no such file or folder", target);
  const bool folder = std::filesystem::is_directory(target);
  if (folder && (values.count("out") || values.count("set"))) user_error("sweep run {}: is the folder of a sweep, whose points are settled: --out and --set go with a sweep file", target);
  const sweep::LocalOptions o = local_options(values);  // before a folder is made
  const io::SweepIndex index = io::read_sweep_index(folder ? target : planned_folder(target, values));
  // A point that waits in the queue of SLURM has a job.
  return run_points(world, index, [](const io::SweepPoint&, const PointStatus& s) { return (s.state == State::waiting && s.job.empty()) || s.state == State::stopped; }, o);
}

int rerun(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("dir", options::value<std::string>(), "folder of a sweep")(
      "fresh", options::bool_switch(), "begin failed points anew; otherwise they go on from their newest checkpoint");
  add_run_options(description);
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad sweep rerun DIR [--fresh]\nRuns the points that failed or were damaged once more, and no others. Damaged ones begin anew; what was there is kept beside.", description, "dir", values)) return k_exit_ok;
  const io::SweepIndex index = io::read_sweep_index(required_folder(values, "rerun"));
  const auto wanted = [](const io::SweepPoint&, const PointStatus& s) { return s.state == State::failed || s.state == State::damaged; };
  return run_points(world, index, wanted, local_options(values), [&](const io::SweepPoint& p, const PointStatus& s) {
    if (s.state == State::damaged || values["fresh"].as<bool>()) set_aside(index.path_of(p));
  });
}

int status(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("dir", options::value<std::string>(), "folder of a sweep")("all", options::bool_switch(), "also list points that wait or are finished where there are many");
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad sweep status DIR [--all]\nHow every point is doing.", description, "dir", values)) return k_exit_ok;
  const io::SweepIndex index = io::read_sweep_index(required_folder(values, "status"));
  print_status(index, statuses(index), values["all"].as<bool>());
  return k_exit_ok;
}

int collect(const comm::Communicator& world, const Arguments& arguments) {
  options::options_description description("options");
  description.add_options()("dir", options::value<std::string>(), "folder of a sweep");
  Values values;
  if (!parse_arguments(world, arguments, "usage: pleiad sweep collect DIR\nWrites the settings and results of all points to DIR/collected.h5 and DIR/collected.csv.", description, "dir", values)) return k_exit_ok;
  const io::SweepIndex index = io::read_sweep_index(required_folder(values, "collect"));
  std::vector<PointStatus> all = statuses(index);
  const i64 results = sweep::collect(index, all);
  std::cout << fmt::format("{0}\nresults of {1} points: {2}/collected.h5 and {2}/collected.csv\n", in_words(all), results, index.folder);
  return k_exit_ok;
}

}  // namespace

int run_sweep(const comm::Communicator& world, const Arguments& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    std::cout << k_usage << "\n\n  pleiad sweep plan --help     and so on: options\n";
    return arguments.empty() ? k_exit_user : k_exit_ok;
  }
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (arguments[0] == "plan") return plan(world, rest);
  if (arguments[0] == "run") return run(world, rest);
  if (arguments[0] == "submit") return run_sweep_submit(world, rest);
  if (arguments[0] == "status") return status(world, rest);
  if (arguments[0] == "rerun") return rerun(world, rest);
  if (arguments[0] == "collect") return collect(world, rest);
  user_error("sweep {}: must be plan, run, submit, status, rerun or collect", arguments[0]);
}

}  // namespace pleiad::app
