// What pleiad bench layer and step work on: a model built from a configuration as training builds it, but without data.
#pragma once
#include <optional>

#include "pleiad/app/model_setup.hpp"
#include "pleiad/app/run_options.hpp"
#include "pleiad/core/temporary_folder.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::app {

/// A case with its configuration before anybody has read it.
struct Configured {
  std::string name, what;
  Config config;
};

/// `config` with more settings section.key=value.
Config configuration(Config config, const std::vector<std::string>& settings);

/// Whether moe.products = bf16 is given.
bool is_bf16(const Config& config);

/// A second layer to measure against where a large product is not the thing to compare with: of equal widths instead of unequal ones, in
/// single precision instead of bf16.
std::optional<Configured> twin_of(const Configured& c);

/// Members are built in this order and refer to earlier ones; not copied, not moved.
struct BenchModel {
  /// The vocabulary is model.vocab, or 256. Parameters are not allocated yet. UserError on all ranks for a wrong configuration. collective.
  BenchModel(const comm::Communicator& world, const Config& given);
  BenchModel(const BenchModel&) = delete;
  BenchModel& operator=(const BenchModel&) = delete;

  /// UserError if no block carries experts.
  void require_experts() const;
  /// Of one matrix product of a rank.
  i64 threads() const;

  Config config;
  ModelSetup setup;
  RunOptions run;
};

/// The record that a run of this model would write, in a folder that goes with this object, so that a step is measured with its report.
class TemporaryRecord {
 public:
  /// UserError on all ranks if it cannot be made. collective.
  explicit TemporaryRecord(const BenchModel& model);
  /// On rank 0 the record, elsewhere nothing.
  std::vector<train::MetricSink*> sinks();

 private:
  std::optional<TemporaryFolder> folder_;
  std::optional<io::RunRecord> record_;
};

}  // namespace pleiad::app
