#include "pleiad/sweep/point_state.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <sstream>

#include "pleiad/core/error.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/checksum.hpp"
#include "pleiad/io/live_status.hpp"
#include "pleiad/io/run_marker.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::sweep {

namespace {

void append_line(const std::string& path, const std::string& line) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  // One write of a short line: lines of several writers do not mix.
  const bool done = file >= 0 && ::write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  const int problem = errno;
  if (file >= 0) ::close(file);
  if (!done) user_error("{}: cannot be written ({})", path, std::strerror(problem));
}

/// attempts.txt, taken apart as far as it is needed.
struct Attempts {
  i64 count = 0;
  bool open = false;    ///< the last one has not ended
  int code = 0;         ///< of the last end
  double started = 0, ended = 0;  ///< Unix seconds
  std::map<std::string, std::string> words;  ///< key=value of the last start
};

Attempts read_attempts(const std::string& path) {
  Attempts a;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string what, word;
    double time = 0;
    if (!(words >> what >> time)) continue;
    std::map<std::string, std::string> pairs;
    while (words >> word) pairs[word.substr(0, word.find('='))] = word.substr(std::min(word.size(), word.find('=') + 1));
    if (what == "start") {
      ++a.count;
      a.open = true;
      a.started = time;
      a.words = pairs;
    } else if (what == "end") {
      a.open = false;
      a.ended = time;
      a.code = std::atoi(pairs["code"].c_str());
    }
  }
  return a;
}

/// Whether a process of this number works on this point; the number alone may be another's by now.
bool process_lives(const std::string& number, const std::string& point) {
  std::string command;
  return io::read_whole(fmt::format("/proc/{}/cmdline", std::atol(number.c_str())), command) && command.find(point) != std::string::npos;
}

/// Whether a process of this machine writes the run: it holds a lock on log.txt (app/run_folder.hpp). Ranks may outlive their launcher.
bool is_written(const std::string& folder) {
  const int file = ::open((folder + "/log.txt").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  const bool held = ::flock(file, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(file);
  return held;
}

/// Whether the try that began and did not end is still going on.
bool is_alive(const std::string& folder, const std::string& point, const Attempts& a, const std::optional<io::LiveStatus>& live, const std::map<std::string, std::string>& queue, PointStatus& s) {
  const auto word = [&](const char* key) { return a.words.count(key) ? a.words.at(key) : std::string(); };
  if (const std::string job = word("slurm"); !job.empty()) {
    s.job = job;
    const auto found = queue.find(job);
    if (found != queue.end()) return found->second != "PENDING" && found->second != k_left_queue;
  } else if (word("host") == host_name() && !word("process").empty()) {
    return process_lives(word("process"), point) || is_written(folder);
  }
  // Elsewhere, or not known to the batch system we can ask: by signs of life.
  const double now = static_cast<double>(std::time(nullptr));
  const double last = live && live->time > a.started ? live->time : a.started;
  return std::abs(now - last) < std::max(60.0, live ? 10 * live->seconds_per_step : 0.0) && !(live && live->time > a.started && live->state != "running");
}

void take_live(const std::optional<io::LiveStatus>& live, PointStatus& s) {
  if (!live) return;
  s.step = live->step;
  s.steps = live->steps;
  s.loss = live->evaluated ? live->evaluation_loss : live->step > 0 ? live->loss : s.loss;
}

std::optional<io::LiveStatus> live_of(const std::string& folder) {
  try {
    return io::read_live_status(folder);
  } catch (const UserError&) {
    return {};
  }
}

bool config_is_changed(const std::string& folder, const io::SweepPoint& point) {
  std::string text;
  return io::read_whole(folder + "/point.ini", text) && io::sha256(text) != point.config_sum;
}

}  // namespace

const char* state_name(State state) {
  switch (state) {
    case State::waiting: return "waiting";
    case State::running: return "running";
    case State::stopped: return "stopped";
    case State::finished: return "finished";
    case State::failed: return "failed";
    default: return "damaged";
  }
}

PointStatus point_status(const io::SweepIndex& index, const io::SweepPoint& point, const std::map<std::string, std::string>& queue) {
  const std::string folder = index.path_of(point);
  PointStatus s;
  s.loss = std::numeric_limits<double>::quiet_NaN();
  const Attempts attempts = read_attempts(folder + "/attempts.txt");
  s.attempts = attempts.count;
  if (!attempts.open && attempts.count > 0) s.seconds = attempts.ended - attempts.started;
  const std::optional<io::LiveStatus> live = live_of(folder);
  take_live(live, s);
  if (config_is_changed(folder, point)) {
    s.state = State::damaged;
    s.config_changed = true;
    s.note = "point.ini was changed since the sweep was planned";
    return s;
  }
  const io::MarkerCheck marker = io::check_marker(folder, point.identity);
  if (marker.finished) {
    s.state = State::finished;
    s.note = marker.checkpoint;
  } else if (attempts.open && is_alive(folder, point.name, attempts, live, queue, s)) {
    s.state = State::running;
    s.eta_seconds = live && live->time >= attempts.started ? live->eta_seconds() : -1;
    s.note = attempts.words.count("host") ? attempts.words.at("host") : "";
  } else if (marker.there) {
    s.state = State::damaged;
    s.note = marker.problem;
  } else if (attempts.open || (attempts.count > 0 && attempts.code == k_stopped_code)) {
    s.state = State::stopped;
  } else if (attempts.count > 0 && attempts.code == 0) {
    s.state = State::damaged;
    s.note = "ended well, but finished.json is missing";
  } else if (attempts.count > 0) {
    s.state = State::failed;
    const std::string line = last_line(folder + "/output.txt");
    s.note = fmt::format("exit code {}{}", attempts.code, line.empty() ? "" : ": " + line);
  }
  return s;
}

void note_start(const std::string& folder, i64 ranks, i64 process) {
  append_line(folder + "/attempts.txt", fmt::format("start {} host={} ranks={} process={}\n", std::time(nullptr), host_name(), ranks, process));
}

void note_end(const std::string& folder, int code) { append_line(folder + "/attempts.txt", fmt::format("end {} code={}\n", std::time(nullptr), code)); }

std::string last_line(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  constexpr std::streamoff tail = 8192;
  in.seekg(0, std::ios::end);
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - tail));
  std::string last, ours;
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
    if (line.empty() || line.find_first_not_of("-= ") == std::string::npos) continue;
    last = line;
    if (line.starts_with("pleiad: ")) ours = line;
  }
  return harmless(ours.empty() ? last : ours);
}

}  // namespace pleiad::sweep
