// trace.json: who was in which phase when, on sampled steps; a timeline for Perfetto or chrome://tracing (docs/analysis.md). An array of
// trace events that is complete again after each write, so that it can be loaded while the run goes on and after a kill. Trouble with
// the file is told once and never ends the run.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pleiad/train/metrics.hpp"

namespace pleiad::io {

class TraceRecord : public train::MetricSink {
 public:
  using Complain = std::function<void(const std::string&)>;
  /// A new file, or with `resumed` the old one without the events of later steps. `hosts`: of each rank, as far as known. `most_bytes`: no
  /// step is added to a file that is longer.
  TraceRecord(const std::string& path, i64 ranks, const std::vector<std::string>& hosts, std::optional<i64> resumed, Complain complain,
              i64 most_bytes = i64{128} << 20);
  ~TraceRecord() override;
  TraceRecord(const TraceRecord&) = delete;
  TraceRecord& operator=(const TraceRecord&) = delete;

  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64, const train::EvalReport&) override {}
  void on_sample(const train::Sample&) override {}
  void on_checkpoint(i64, double, i64) override {}

 private:
  void begin(std::vector<std::string> lines);
  void append(const std::string& events);
  void give_up(const std::string& why);

  std::string path_;
  Complain complain_;
  i64 most_bytes_;
  int file_ = -1;      // -1: nothing is written any more
  i64 end_ = 0;        // place of the closing bracket
  i64 origin_ = -1;    // nanoseconds since the epoch that are time 0 of the file; -1: the first event's
};

}  // namespace pleiad::io
