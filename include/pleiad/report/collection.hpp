// The runs of a report and how they belong together: runs that differ in their seed only are one configuration.
#pragma once
#include <string>
#include <vector>

#include "pleiad/io/sweep_index.hpp"
#include "pleiad/report/run.hpp"

namespace pleiad::report {

struct Configuration {
  std::string label;                ///< short, different from all others
  std::vector<std::string> values;  ///< by Collection::keys; empty text where its sweep does not set the key
  std::vector<std::size_t> runs;    ///< places in Collection::runs, seeds ascending
};

struct Collection {
  std::vector<Run> runs;                      ///< in the order given, points in the order of their sweep; each folder once
  std::vector<std::string> sweeps;            ///< their names
  std::vector<std::string> keys;              ///< swept keys that vary, if all runs are points of sweeps
  std::vector<Configuration> configurations;  ///< in the order of their first runs
  std::vector<std::string> remarks;           ///< one line per sweep: points that are missing, not complete or damaged

  /// Whether one row per configuration says more than one per run.
  bool has_configurations() const;
};

/// Every path is a run directory, a run.h5 or a sweep directory. Of a sweep only complete runs are taken. UserError for a path that is
/// neither, a damaged run that was named itself, or a sweep without a complete run.
Collection collect(const std::vector<std::string>& paths);

/// Sorts the runs into configurations and labels them; `swept` are the keys of the sweeps.
void group(Collection& collection, const std::vector<std::string>& swept);

/// The runs of a sweep that are complete, and one line about the others (empty: none).
std::vector<Run> complete_runs(const io::SweepIndex& index, std::string& remark);

/// Keys of the configuration in which these runs differ, beside the seed.
std::vector<std::string> differing_keys(const std::vector<const Run*>& runs);
/// `keys` without their sections where that leaves them different.
std::vector<std::string> short_keys(const std::vector<std::string>& keys);

}  // namespace pleiad::report
