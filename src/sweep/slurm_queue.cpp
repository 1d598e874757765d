#include "pleiad/sweep/slurm_queue.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/sweep/local_runner.hpp"

namespace pleiad::sweep {

namespace {

using Json = nlohmann::json;

constexpr const char* k_jobs_format = "pleiad-slurm-jobs/1";

/// Of the allocation that we may be in ourselves: a new job must not take it for its own.
bool of_our_own_job(const std::string& variable) { return variable.starts_with("SLURM_") && !variable.starts_with("SLURM_CONF="); }

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> p;
  for (std::string& w : words) p.push_back(w.data());
  p.push_back(nullptr);
  return p;
}

/// Both ends of a pipe, closed with this object, and not handed on to programs.
struct Pipe {
  std::array<int, 2> end{-1, -1};
  Pipe() {
    if (::pipe2(end.data(), O_CLOEXEC) != 0) user_error("no pipe to another program can be made ({})", std::strerror(errno));
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t i) {
    if (end[i] >= 0) ::close(end[i]);
    end[i] = -1;
  }
};

/// Reads both pipes until they end, whichever has something first.
void drain(Pipe& out, Pipe& err, Outcome& outcome) {
  std::array<pollfd, 2> open{pollfd{out.end[0], POLLIN, 0}, pollfd{err.end[0], POLLIN, 0}};
  char buffer[4096];
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (::poll(open.data(), open.size(), -1) < 0 && errno != EINTR) return;
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      const ssize_t count = ::read(open[i].fd, buffer, sizeof(buffer));
      if (count > 0) {
        (i == 0 ? outcome.out : outcome.err).append(buffer, static_cast<std::size_t>(count));
      } else if (count == 0 || errno != EINTR) {
        open[i].fd = -1;
      }
    }
  }
}

/// What a program had to say, in one line.
std::string in_one_line(const Outcome& o) {
  std::string text = o.err.empty() ? o.out : o.err;
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) text.replace(at, 1, "; ");
  return text.empty() ? fmt::format("exit code {}", o.code) : text;
}

/// Its output. UserError if it is not there or fails.
std::string output_of(const std::vector<std::string>& arguments) {
  const Outcome o = run_program(arguments);
  if (o.code == 127) user_error("{}: there is no such program here; 'pleiad sweep submit' and the state of submitted points need a machine that submits to SLURM", arguments[0]);
  if (o.code != 0) user_error("SLURM refuses '{}': {}", fmt::join(arguments, " "), in_one_line(o));
  return o.out;
}

/// The numbers N of SWEEP/slurm/N, in order.
std::vector<i64> submission_numbers(const std::string& sweep) {
  std::vector<i64> numbers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(sweep + "/slurm", error)) {
    const std::string name = entry.path().filename().string();
    i64 n = 0;
    const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), n);
    if (problem == std::errc{} && end == name.data() + name.size()) numbers.push_back(n);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace

Outcome run_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = arguments, variables = first_environment();
  std::erase_if(variables, of_our_own_job);
  Pipe out, err;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.end[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err.end[1], 2);
  pid_t child = 0;
  const int problem = posix_spawnp(&child, words[0].c_str(), &actions, nullptr, pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  Outcome outcome;
  if (problem == ENOENT) outcome.code = 127;
  if (problem == ENOENT) return outcome;
  if (problem != 0) user_error("{}: cannot be started ({})", arguments[0], std::strerror(problem));
  out.close_end(1);
  err.close_end(1);
  drain(out, err, outcome);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

i64 max_array_size() {
  std::istringstream lines(output_of({"scontrol", "show", "config"}));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("MaxArraySize")) continue;
    const std::size_t at = line.find_first_of("0123456789");
    i64 size = 0;
    if (at != std::string::npos) std::from_chars(line.data() + at, line.data() + line.size(), size);
    if (size < 2) user_error("this SLURM does not allow job arrays (scontrol show config: {})", line);
    return size;
  }
  user_error("'scontrol show config' does not say MaxArraySize");
}

std::string submit_script(const std::string& script, const std::vector<std::string>& options) {
  std::vector<std::string> arguments{"sbatch", "--parsable"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(script);
  const std::string out = output_of(arguments);
  const std::string id = out.substr(0, out.find_first_not_of("0123456789"));  // "17" or "17;cluster"
  if (id.empty()) user_error("sbatch {}: was accepted, but the number of the job is not understood: {}", script, out);
  return id;
}

void write_jobs(const std::string& folder, const SubmittedJobs& jobs) {
  Json arrays = Json::array();
  for (const SubmittedArray& a : jobs.arrays) arrays.push_back({{"job", a.job}, {"points", a.points}});
  const Json j = {{"format", k_jobs_format}, {"description", "Pleiad: jobs of SLURM and the points they run"}, {"arrays", arrays}, {"collect", jobs.collect}};
  io::replace_whole(folder + "/jobs.json", j.dump(1) + "\n", true);
}

std::vector<SubmittedJobs> read_all_jobs(const std::string& sweep) {
  std::vector<SubmittedJobs> all;
  for (const i64 n : submission_numbers(sweep)) {
    const std::string path = fmt::format("{}/slurm/{}/jobs.json", sweep, n);
    std::string text;
    if (!io::read_whole(path, text)) continue;  // nothing was submitted
    try {
      const Json j = Json::parse(text);
      if (j.at("format") != k_jobs_format) throw std::runtime_error("format " + j.at("format").get<std::string>());
      SubmittedJobs jobs;
      for (const Json& a : j.at("arrays")) jobs.arrays.push_back({a.at("job"), a.at("points")});
      jobs.collect = j.at("collect");
      all.push_back(std::move(jobs));
    } catch (const std::exception& e) {
      user_error("{}: is damaged or of another version ({})", path, e.what());
    }
  }
  return all;
}

std::string next_submission_folder(const std::string& sweep) {
  const std::vector<i64> numbers = submission_numbers(sweep);
  return fmt::format("{}/slurm/{}", sweep, numbers.empty() ? 1 : numbers.back() + 1);
}

std::map<std::string, QueuedPoint> queued_points(const std::vector<SubmittedJobs>& submissions, const std::string& squeue_output) {
  std::map<std::string, const SubmittedArray*> arrays;
  for (const SubmittedJobs& s : submissions) {
    for (const SubmittedArray& a : s.arrays) arrays[a.job] = &a;
  }
  std::map<std::string, QueuedPoint> queued;
  std::istringstream lines(squeue_output);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string job, index, state, reason;
    if (!std::getline(fields, job, '|') || !std::getline(fields, index, '|') || !std::getline(fields, state, '|')) continue;
    std::getline(fields, reason);
    const auto found = arrays.find(job);
    std::size_t element = 0;
    const auto [end, problem] = std::from_chars(index.data(), index.data() + index.size(), element);
    if (found == arrays.end() || problem != std::errc{} || element >= found->second->points.size()) continue;
    if (reason == "None") reason.clear();
    queued[found->second->points[element]] = {job + "_" + index, state, reason};
  }
  return queued;
}

std::vector<PointStatus> point_statuses(const io::SweepIndex& index, std::string* problem) {
  const std::vector<SubmittedJobs> submissions = read_all_jobs(index.folder);
  std::map<std::string, QueuedPoint> queued;
  std::map<std::string, std::string> states;  // of every element, by its id
  if (!submissions.empty()) {
    try {
      // All jobs of this user: asked for the number of one that it has forgotten, squeue fails.
      queued = queued_points(submissions, output_of({"squeue", "--noheader", "--array", fmt::format("--user={}", ::getuid()), "--format=%F|%K|%T|%r"}));
      for (const SubmittedJobs& s : submissions) {
        for (const SubmittedArray& a : s.arrays) {
          for (std::size_t i = 0; i < a.points.size(); ++i) states[fmt::format("{}_{}", a.job, i)] = k_left_queue;
        }
      }
      for (const auto& [name, q] : queued) states[q.element] = q.state;
    } catch (const UserError& e) {
      if (!problem) throw;
      *problem = e.what();
    }
  }
  std::vector<PointStatus> all;
  for (const io::SweepPoint& point : index.points) {
    PointStatus s = point_status(index, point, states);
    const auto found = queued.find(point.name);
    if (found != queued.end() && s.state != State::finished && s.state != State::running && s.state != State::damaged) {
      s.state = State::waiting;
      s.job = found->second.element;
      s.note = found->second.reason;
    }
    all.push_back(std::move(s));
  }
  return all;
}

}  // namespace pleiad::sweep
