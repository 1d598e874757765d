// routing.h5: who went where, token by token, on the steps that section [metrics] asks for; format pleiad-routing/1
// (docs/file_format.md). Enough to replay the routing on another number of ranks. Written like run.h5, by rank 0 alone, in SWMR mode.
#pragma once
#include "pleiad/io/run_columns.hpp"

namespace pleiad::io {

inline constexpr const char* k_routing_format = "pleiad-routing/1";

/// Batch shape of the run: `sequences` of `seq_len` tokens in `lanes` lanes.
class RoutingRecord : public train::MetricSink {
 public:
  /// A new record, or one that is continued after step `resumed`: what was recorded later is forgotten. UserError if it cannot be
  /// written or belongs to a run of another shape. It has its name, and takes the place of what it continues, by publish(); without that nothing is changed.
  RoutingRecord(const std::string& path, const RunDescription& run, i64 sequences, i64 seq_len, i64 lanes, std::optional<i64> resumed);

  void publish();
  void on_step(const train::StepRecord& record) override;
  void on_evaluation(i64, const train::EvalReport&) override {}
  void on_sample(const train::Sample&) override {}
  void on_checkpoint(i64, double, i64) override {}
  void flush() override;

 private:
  struct Layer {
    H5Series count, first, expert, weight, kept;
    i64 entries = 0;
  };
  void describe(const RunDescription& run, i64 sequences, i64 seq_len, i64 lanes);
  void open_series(const RunDescription& run, i64 tokens, bool fresh);
  void forget_after(const RunDescription& run, i64 step);

  std::string path_;
  H5File file_;
  H5Series step_, tokens_;
  std::vector<Layer> layers_;
  Stopwatch since_flush_;
};

}  // namespace pleiad::io
