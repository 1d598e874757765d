// Signals that ask a run to stop: SIGUSR1 and SIGUSR2 (batch systems, before the time limit), SIGTERM, SIGINT, SIGHUP (a closed terminal)
// unless it is ignored. They are only noted; the training loop asks at each step edge, saves, and the program ends with k_exit_stopped. main()
// notes them for pleiad train.
#pragma once

namespace pleiad::app {

class StopSignal {
 public:
  /// Notes the signals from here on. One object at a time. A second SIGINT ends the process as usual.
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Whether this process got one. Local.
  static bool asked();
};

}  // namespace pleiad::app
