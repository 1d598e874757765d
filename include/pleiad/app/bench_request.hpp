// What pleiad bench is asked for, the configurations that it measures, and where its results go: the terminal, lines of JSON, an HDF5 file.
#pragma once
#include "pleiad/app/bench_model.hpp"
#include "pleiad/app/commands.hpp"
#include "pleiad/bench/cases.hpp"
#include "pleiad/bench/record.hpp"

namespace pleiad::app {

struct BenchRequest {
  std::string kind;  // gemm, layer, exchange, overlap, step
  std::vector<std::string> cases, settings, shapes;
  std::string config, json, out;
  bench::Sampling sampling;
  i64 roof_size = 0, table_mib = 0;
  double bandwidth = 0;  ///< megabits per second that a node's network is said to have; 0: unknown
  bool list = false;
};

/// False if only help was asked for. UserError for what cannot be. collective.
bool read_bench_request(const comm::Communicator& world, const std::string& kind, const Arguments& arguments, BenchRequest& request);

/// The configuration that was asked for, or the cases chosen among the standard ones.
std::vector<Configured> configured(const comm::Communicator& world, const BenchRequest& request, std::vector<bench::ModelCase> standard);

/// A record with what all measurements of a model have in common.
bench::Record record_of(const Configured& c, const BenchModel& model, const std::string& what);

/// Where results go: the terminal, and the files as soon as a case is done.
class BenchResults {
 public:
  BenchResults(const comm::Communicator& world, const BenchRequest& request);

  /// The sampling of the request, with progress on the terminal for this case.
  bench::Sampling sampling(const std::string& name) const;
  void say(const std::string& line) const;
  /// collective; everything is rank 0's.
  void add(bench::Record record);
  /// The same on every rank.
  int exit_code() const;

 private:
  void write();

  const comm::Communicator& world_;
  const BenchRequest& request_;
  bench::Facts facts_;
  bool shows_progress_;
  std::vector<bench::Record> records_;
};

}  // namespace pleiad::app
