#include "pleiad/app/stop_signal.hpp"

#include <csignal>

namespace pleiad::app {

namespace {

constexpr int k_signals[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGHUP};

// A handler may touch nothing else.
volatile std::sig_atomic_t signal_seen = 0;

void note(int signal) {
  signal_seen = 1;
  if (signal == SIGINT) std::signal(SIGINT, SIG_DFL);  // whoever presses Ctrl-C twice means it
}

}  // namespace

StopSignal::StopSignal() {
  signal_seen = 0;
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // reads and writes under way go on
  for (const int s : k_signals) {
    struct sigaction before = {};
    if (s == SIGHUP && sigaction(s, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;  // nohup: the run is to outlive its terminal
    sigaction(s, &action, nullptr);
  }
  // Whoever read the output may end before the run does (tee at Ctrl-C, head): nothing is lost but what they would have read.
  std::signal(SIGPIPE, SIG_IGN);
}

StopSignal::~StopSignal() {
  for (const int s : k_signals) {
    struct sigaction now = {};
    if (sigaction(s, nullptr, &now) == 0 && now.sa_handler == note) std::signal(s, SIG_DFL);
  }
  std::signal(SIGPIPE, SIG_DFL);
}

bool StopSignal::asked() { return signal_seen != 0; }

}  // namespace pleiad::app
