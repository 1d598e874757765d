// Keeps RUN/live.json (live_status.hpp) up to date while a run goes on. Trouble with that file is told once and never ends the run.
#pragma once
#include <functional>

#include "pleiad/io/live_status.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::io {

/// The loss curve of a whole run in at most `most` points: means over equal pieces of it, the last one not complete yet.
class LossHistory {
 public:
  explicit LossHistory(i64 steps, i64 most = 120);
  /// Steps ascend; a loss that is not finite is left out.
  void add(i64 step, double loss);
  void copy_to(std::vector<i64>& step, std::vector<double>& loss) const;

 private:
  i64 piece_ = 1;  // steps of a point
  std::vector<i64> step_;
  std::vector<double> sum_;
  std::vector<i64> count_;
};

/// Load of each expert, or of equal groups of neighbours where there are more than `most`: share of the tokens over the share of the
/// experts, so 1 is fair. All 0 without tokens.
std::vector<double> load_of_groups(std::span<const i64> expert_tokens, i64 most = 64);

class LiveRecord : public train::MetricSink {
 public:
  struct About {
    i64 ranks = 1;
    i64 first_step = 0, last_step = 0, steps = 0;  ///< done at the start; where this part ends; of the whole run
    std::vector<i64> blocks;                       ///< of the MoE layers
    RunSoFar before;                               ///< what the run record knows of earlier parts
    double every = 2;                              ///< seconds between two versions of the file, at least
  };
  using Complain = std::function<void(const std::string&)>;
  /// Writes the first status. `complain` is called once at most.
  LiveRecord(const std::string& run, const About& about, Complain complain);

  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64 step, const train::EvalReport& report) override;
  void on_sample(const train::Sample&) override {}
  void on_checkpoint(i64 step, double seconds, i64 bytes) override;
  /// The run ends here, properly.
  void finish();

 private:
  void keep_from_before();
  void note_phases(const train::StepRecord& record);
  void note_layers(const train::StepRecord& record);
  void publish();

  std::string run_;
  About about_;
  Complain complain_;
  LiveStatus status_;
  LossHistory history_;
  std::vector<double> phases_;  // sums over steps and ranks
  Stopwatch since_publish_;
  bool complained_ = false;
};

}  // namespace pleiad::io
