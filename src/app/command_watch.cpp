// pleiad watch RUN: follows a run from anywhere. It reads RUN/live.json and nothing else, so it cannot disturb the run: no lock is taken, no
// file is held open.
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/live_view.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/sweep_index.hpp"

namespace pleiad::app {

namespace {

volatile std::sig_atomic_t interrupted = 0;

bool speaks_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    std::string text = value;
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text.find("utf-8") != std::string::npos || text.find("utf8") != std::string::npos;
  }
  return false;
}

struct Extent {
  i64 columns = 80, rows = 24;
};

Extent terminal_extent() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return {size.ws_col, size.ws_row};
  const char* columns = std::getenv("COLUMNS");
  const i64 asked = columns ? std::atoll(columns) : 0;
  return {asked > 0 ? std::min<i64>(asked, 1000) : 80, 24};
}

double unix_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

[[noreturn]] void nothing_to_watch(const std::string& run) {
  if (!std::filesystem::is_directory(run)) user_error("watch: {}: there is no such folder", run);
  if (io::is_sweep(run)) user_error("watch: {}: is a sweep; 'pleiad sweep status {}' shows it, and each folder below points/ can be watched", run, shell_word(run));
  user_error("watch: {}: holds no live.json; a run writes it as soon as it starts", run);
}

/// The newest status of a run, and how long it has been silent.
class Follower {
 public:
  explicit Follower(std::string run) : run_(std::move(run)) {}

  /// True if there is a newer status than before.
  bool look() {
    std::optional<io::LiveStatus> now = io::read_live_status(run_);
    if (!now) {
      // A network file system may lose sight of a file while it is replaced.
      if (!status_ || ++missed_ > 5) nothing_to_watch(run_);
      return false;
    }
    missed_ = 0;
    const bool newer = !status_ || now->time != status_->time || now->state != status_->state;
    if (newer && status_) seen_alive_ = true;
    if (newer) since_newer_.restart();
    status_ = std::move(now);
    return newer;
  }
  const io::LiveStatus& status() const { return *status_; }
  bool over() const { return status_->state != "running"; }
  /// By our own clock once we have seen the run move, because clocks of two machines may differ.
  double silence() const { return seen_alive_ ? since_newer_.seconds() : std::max(0.0, unix_time() - status_->time); }

 private:
  std::string run_;
  std::optional<io::LiveStatus> status_;
  Stopwatch since_newer_;
  bool seen_alive_ = false;
  int missed_ = 0;
};

/// Sleeps, but not past Ctrl-C.
void wait_for(double seconds) {
  const Stopwatch watch;
  while (!interrupted && watch.seconds() < seconds) std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.1, seconds)));
}

/// As many lines as the screen has.
std::string first_lines(const std::string& text, i64 rows) {
  std::size_t end = 0;
  for (i64 r = 0; r < rows; ++r) {
    end = text.find('\n', end);
    if (end == std::string::npos) return text;
    ++end;
  }
  return text.substr(0, end);
}

/// On a screen of its own, which is given back at the end, with the last picture below it.
void show(Follower& follower, const std::string& run, double every) {
  std::string picture;
  std::cout << "\033[?1049h" << std::flush;
  try {
    while (true) {
      const Extent extent = terminal_extent();
      picture = picture_of(follower.status(), run, {extent.columns, speaks_utf8(), follower.silence()});
      std::cout << "\033[H\033[J" << first_lines(picture, extent.rows - 1) << std::flush;
      if (interrupted || follower.over()) break;
      wait_for(every);
      follower.look();
    }
  } catch (...) {
    std::cout << "\033[?1049l" << std::flush;
    throw;
  }
  std::cout << "\033[?1049l" << picture << std::flush;
}

/// One line for each change.
void tell(Follower& follower, double every) {
  bool newer = true, was_silent = false;
  while (true) {
    const bool silent = is_silent(follower.status(), follower.silence());
    if (newer || (silent && !was_silent)) std::cout << line_of(follower.status(), {80, false, follower.silence()}) << std::endl;
    if (!std::cout) user_error("watch: what it says cannot be written");
    was_silent = silent;
    if (interrupted || follower.over()) return;
    wait_for(every);
    newer = follower.look();
  }
}

}  // namespace

int run_watch(const comm::Communicator& world, const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("run", options::value<std::vector<std::string>>(), "folder of the run, also without --run")(
      "every", options::value<double>()->default_value(2), "seconds between looks")("once", "show how it stands and end");
  Values values;
  const std::string usage =
      "usage: pleiad watch RUN [--every SECONDS] [--once]\nFollows a run from any machine that sees its folder, without disturbing it: loss, load of the experts, phases, time left.";
  if (!parse_arguments(world, arguments, usage, description, "run", values)) return k_exit_ok;
  const auto runs = value_or<std::vector<std::string>>(values, "run", {});
  if (runs.size() != 1 || runs[0].empty()) user_error("watch: {}; usage: pleiad watch RUN", runs.size() > 1 ? "one run at a time" : "no run given");
  const double every = values["every"].as<double>();
  if (!(every >= 0.05 && every <= 86400)) user_error("watch: --every {}: must be between 0.05 and 86400 seconds", every);

  Follower follower(runs[0]);
  follower.look();
  if (values.count("once")) {
    std::cout << picture_of(follower.status(), runs[0], {terminal_extent().columns, speaks_utf8(), follower.silence()}) << std::flush;
    return k_exit_ok;
  }
  for (const int which : {SIGINT, SIGTERM}) std::signal(which, [](int) { interrupted = 1; });
  if (isatty(STDOUT_FILENO)) {
    show(follower, runs[0], every);
  } else {
    tell(follower, every);
  }
  return k_exit_ok;
}

}  // namespace pleiad::app
