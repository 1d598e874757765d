#include "pleiad/sweep/local_runner.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <list>
#include <memory>
#include <thread>

#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/temporary_folder.hpp"
#include "pleiad/sweep/point_state.hpp"

namespace pleiad::sweep {

namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& t : texts) all.push_back(t.data());
  all.push_back(nullptr);
  return all;
}

std::vector<std::string> command_of(const io::SweepIndex& index, const io::SweepPoint& p, const LocalOptions& o) {
  const std::string folder = index.path_of(p);
  std::vector<std::string> command;
  if (p.ranks > 1) command = {o.launcher, "-n", fmt::format("{}", p.ranks)};
  for (const char* word : {o.program.c_str(), "train", "--continue", "--config"}) command.push_back(word);
  command.push_back(folder + "/point.ini");
  command.push_back("--out");
  command.push_back(folder);
  return command;
}

/// A process in a group of its own, which ends when this one does; its output is appended to `output`. Returns its number.
pid_t start(std::vector<std::string> command, std::vector<std::string> environment, const std::string& output) {
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (out < 0) user_error("{}: cannot be written ({})", output, std::strerror(errno));
  const std::vector<char*> arguments = pointers(command), variables = pointers(environment);
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    // Only what is safe after fork.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    const int none = ::open("/dev/null", O_RDONLY);
    dup2(none, 0);
    dup2(out, 1);
    dup2(out, 2);
    for (int fd = 3; fd < 1024; ++fd) ::close(fd);
    for (const int s : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGPIPE}) signal(s, SIG_DFL);
    execvpe(arguments[0], arguments.data(), variables.data());
    _exit(127);
  }
  ::close(out);
  if (child < 0) user_error("{}: cannot be started ({})", command[0], std::strerror(errno));
  return child;
}

class Pool {
 public:
  Pool(const io::SweepIndex& index, const std::vector<Job>& jobs, const LocalOptions& options, const std::function<void(const Event&)>& tell)
      : index_(index), options_(options), tell_(tell), waiting_(jobs.begin(), jobs.end()), free_(options.cores) {}

  i64 run() {
    Stopwatch since_told;
    while (!waiting_.empty() || !running_.empty()) {
      if (options_.stop && options_.stop()) stop_all();
      const bool news = begin_what_fits() || reap();
      if (news) continue;
      if (since_told.seconds() > 1) {
        since_told.restart();
        tell(Event::Kind::waiting, nullptr, 0);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return failures_;
  }

 private:
  struct Running {
    pid_t process;
    Job job;
    std::unique_ptr<TemporaryFolder> temporary;
  };

  bool begin_what_fits() {
    const auto fits = std::ranges::find_if(waiting_, [&](const Job& j) { return std::min(j.cores, options_.cores) <= free_; });
    if (fits == waiting_.end()) return false;
    const Job job = *fits;
    waiting_.erase(fits);
    const std::string folder = index_.path_of(*job.point);
    // Open MPI jobs that start and end at the same time in one temporary folder remove each other's files; its name must be short.
    auto temporary = std::make_unique<TemporaryFolder>("/tmp");
    std::vector<std::string> environment = options_.environment;
    environment.push_back("TMPDIR=" + temporary->path());
    const pid_t process = start(command_of(index_, *job.point, options_), environment, folder + "/output.txt");
    note_start(folder, job.point->ranks, process);
    running_.push_back({process, job, std::move(temporary)});
    free_ -= std::min(job.cores, options_.cores);
    tell(Event::Kind::started, job.point, 0);
    return true;
  }

  bool reap() {
    for (auto it = running_.begin(); it != running_.end(); ++it) {
      int status = 0;
      if (waitpid(it->process, &status, WNOHANG) != it->process) continue;
      int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      // Told to stop before it listened: nothing was lost.
      if (stopping_ && code == 128 + SIGUSR1) code = k_stopped_code;
      const Job ended = it->job;
      running_.erase(it);
      note_end(index_.path_of(*ended.point), code);
      free_ += std::min(ended.cores, options_.cores);
      failures_ += code != 0;
      tell(Event::Kind::ended, ended.point, code);
      return true;
    }
    return false;
  }

  /// mpirun passes SIGUSR1 on to its ranks; a single rank hears it itself. Both save and end. Again and again, because a launcher that has not
  /// started its ranks yet forgets it.
  void stop_all() {
    if (stopping_ && since_signal_.seconds() < 1) return;
    stopping_ = true;
    since_signal_.restart();
    waiting_.clear();
    for (const Running& r : running_) kill(r.process, SIGUSR1);
  }

  void tell(Event::Kind kind, const io::SweepPoint* point, int code) {
    tell_({kind, point, code, static_cast<i64>(running_.size()), static_cast<i64>(waiting_.size())});
  }

  const io::SweepIndex& index_;
  const LocalOptions& options_;
  const std::function<void(const Event&)>& tell_;
  std::list<Job> waiting_;
  std::list<Running> running_;
  i64 free_, failures_ = 0;
  bool stopping_ = false;
  Stopwatch since_signal_;
};

}  // namespace

i64 run_locally(const io::SweepIndex& index, const std::vector<Job>& jobs, const LocalOptions& options, const std::function<void(const Event&)>& tell) {
  return Pool(index, jobs, options, tell).run();
}

i64 available_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  return sched_getaffinity(0, sizeof(cores), &cores) == 0 ? std::max<i64>(1, CPU_COUNT(&cores)) : 1;
}

}  // namespace pleiad::sweep
