// What a person sees of a run: one progress line, evaluations, samples, and the table of phases at the end; all of it also goes to
// log.txt. Rank 0 only.
#pragma once
#include <fstream>
#include <functional>

#include "pleiad/train/metrics.hpp"

namespace pleiad::app {

/// Whether a person watches. Under mpirun every rank has a pseudo-terminal of its own, so it is the launcher's output that counts.
bool person_watches();

class Terminal : public train::MetricSink {
 public:
  struct Options {
    i64 first_step = 0, last_step = 0;
    i64 ranks = 1;
    std::function<std::string(std::span<const std::int32_t>)> decode;
    std::string log;  ///< path, appended to; empty: none
  };
  explicit Terminal(Options options);

  void say(const std::string& line);
  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64 step, const train::EvalReport& report) override;
  void on_sample(const train::Sample& sample) override;
  void on_checkpoint(i64 step, double seconds, i64 bytes) override;
  void on_bad_numbers(const train::BadNumbers& bad, const std::string& then) override;
  void on_placement(const train::PlacementRecord& record) override;
  /// Seconds per phase over the run: least, mean and most over ranks, and share of the step.
  void phase_table();

 private:
  std::string progress(const train::StepRecord& record) const;
  void log(const std::string& line);

  Options options_;
  bool is_terminal_;
  bool line_open_ = false;  // the progress line stands on the terminal without a line end
  std::ofstream log_;
  bool log_failed_ = false;
  Stopwatch since_start_, since_line_;
  i64 steps_ = 0, tokens_ = 0;
  double step_seconds_ = 0;
  double recent_ = 0;  // seconds per step, smoothed
  std::vector<double> phases_;  // [ranks x phases]
};

}  // namespace pleiad::app
