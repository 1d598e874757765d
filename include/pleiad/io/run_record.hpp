// run.h5: everything a run measured, format pleiad-run/1 (docs/file_format.md). Written by rank 0 alone through the serial driver,
// in SWMR mode, so that a kill leaves it readable and others may follow it.
#pragma once
#include <numeric>
#include <memory>

#include "pleiad/io/run_columns.hpp"

namespace pleiad::io {

inline constexpr const char* k_run_format = "pleiad-run/1";

/// Turns sampled tokens into text.
using Decode = std::function<std::string(std::span<const std::int32_t>)>;

/// What earlier parts of a run have left.
struct RunSoFar {
  std::vector<double> losses;    ///< task loss of steps 1, 2, ...; NaN where lost
  std::optional<i64> evaluated;  ///< step of the last evaluation
  double evaluation_loss = 0;
  std::optional<double> above_floor;
};

/// Bytes of each rank.
struct MemoryRecord {
  std::vector<i64> predicted, peak;
  i64 peak_of_all_ranks() const { return std::accumulate(peak.begin(), peak.end(), i64{0}); }
};

class RunRecord : public train::MetricSink {
 public:
  /// A new record. UserError if it cannot be written.
  RunRecord(const std::string& path, const RunDescription& run, Decode decode);
  /// Continues an existing one after step `step`: later rows are forgotten.
  RunRecord(const std::string& path, const RunDescription& run, Decode decode, i64 step);
  ~RunRecord() override;

  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64 step, const train::EvalReport& report) override;
  void on_sample(const train::Sample& sample) override;
  void on_checkpoint(i64 step, double seconds, i64 bytes) override;
  void on_placement(const train::PlacementRecord& record) override;
  void flush() override;
  /// What the file holds at this moment.
  RunSoFar so_far() const;
  /// Marks the run as finished after `step` updates, notes the memory it took and closes the file.
  void finish(i64 step, const MemoryRecord& memory);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What the record of a run tells about its beginning and its checkpoints.
struct RunTale {
  std::string config;              ///< that it was started with, INI form
  std::string corpus_fingerprint;  ///< of its data
  i64 saved = -1;      ///< step of its last checkpoint; -1: none
  i64 recorded = 0;    ///< the last step that it has a row of
};
/// UserError if the file is not a run record. One rank only.
RunTale read_run_tale(const std::string& path);

}  // namespace pleiad::io
