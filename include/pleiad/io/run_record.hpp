// run.h5: everything a run measured, format pleiad-run/1 (docs/file_format.md). Written by rank 0 alone through the serial driver,
// in SWMR mode, so that a kill leaves it readable and others may follow it.
#pragma once
#include <memory>

#include "pleiad/io/h5.hpp"
#include "pleiad/train/metrics.hpp"

namespace pleiad::io {

inline constexpr const char* k_run_format = "pleiad-run/1";

/// What a run record says about itself and what its datasets are shaped by.
struct RunDescription {
  std::string config;                                         ///< resolved, INI form
  std::vector<std::pair<std::string, std::string>> facts;     ///< environment: name, value
  i64 seed = 0, ranks = 1;
  std::vector<i64> moe_layers, expert_widths;
  std::vector<double> expert_flops;                           ///< [experts] forward, per row
  std::vector<std::string> auxiliary;                         ///< names of the auxiliary losses
  std::vector<std::string> domains;
  bool has_floor = false;
  std::string init_checkpoint = {};                           ///< base name of the file the run started from; empty: random weights
  i64 init_step = 0;                                          ///< updates that one had done
};

class RunRecord : public train::MetricSink {
 public:
  /// A new record. UserError if it cannot be written. `decode` turns sampled tokens into text.
  RunRecord(const std::string& path, const RunDescription& run, std::function<std::string(std::span<const std::int32_t>)> decode);
  /// Continues an existing one after step `step`: later rows are forgotten.
  RunRecord(const std::string& path, const RunDescription& run, std::function<std::string(std::span<const std::int32_t>)> decode, i64 step);
  ~RunRecord() override;

  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64 step, const train::EvalReport& report) override;
  void on_sample(const train::Sample& sample) override;
  void on_checkpoint(i64 step, double seconds, i64 bytes) override;
  void flush() override;
  /// Marks the run as finished after `step` updates and closes the file.
  void finish(i64 step);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The configuration a run was started with. UserError if the file is not a run record. One rank only.
std::string read_run_config(const std::string& path);

}  // namespace pleiad::io
