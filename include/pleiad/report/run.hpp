// A run as a report sees it: its figures, its configuration and where it comes from. Read from run.h5 without its series.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/io/run_summary.hpp"

namespace pleiad::report {

struct Run {
  std::string path;  ///< the folder
  io::RunSummary summary;
  std::map<std::string, std::string> config;  ///< section.key -> value in force
  i64 seed = 0, ranks = 1;
  std::string version, commit, started;
  std::string matched_to;   ///< the run whose figures it was given (train --match); empty: none
  std::string fingerprint;  ///< of the data; empty in older records
  i64 sweep = -1;                               ///< place among the sweeps of a collection; -1: given by itself
  std::map<std::string, std::string> settings;  ///< of its point in the sweep
  i64 moe_layers = 0;
  double experts = 0, expert_width = 0;  ///< in a MoE layer; mean width. 0: none, or not of the feed-forward kind (width)

  const std::string& name() const { return summary.name; }
  /// The value of a key, or empty.
  std::string value(const std::string& key) const;
  /// Finished, with all the updates its configuration asks for.
  bool complete() const;
  /// What its losses were measured on, in words; losses of runs that differ in it cannot be compared.
  std::string data() const;
};

/// UserError if `path` (a run directory or a run.h5) is no run record.
Run read_run(const std::string& path);

/// The key = value lines of a configuration in INI form, by section.key.
std::map<std::string, std::string> parse_config(const std::string& text);

}  // namespace pleiad::report
