// What `pleiad simulate` predicts, as a file that explains itself; format pleiad-simulation/1 (docs/file_format.md).
#pragma once
#include <optional>

#include "pleiad/io/h5.hpp"
#include "pleiad/sim/prediction.hpp"

namespace pleiad::io {

inline constexpr const char* k_simulation_format = "pleiad-simulation/1";

struct SimulationRecord {
  std::string config, cluster;  ///< resolved configuration; the cluster file as it would be written
  std::string demand, engine;   ///< in words; name
  i64 seed = 0, step = 0;
  std::vector<sim::Prediction> predictions;
  /// What the step of the first of these took where it was made; medians over `steps`, phases as means over the ranks.
  struct Measured {
    i64 steps = 0;
    double seconds = 0;
    std::vector<double> phase_seconds = {};  ///< [k_phase_count]
    double predicted = 0;                    ///< of the same part of the step: without metrics
  };
  std::optional<Measured> measured = {};
  std::string written_by = {};  ///< of a record that was read: version and commit
};

/// A new file in place of an old one. UserError if it cannot be written.
void write_simulation(const std::string& path, const SimulationRecord& record);
/// Whether a file says that it is one of these; false for what is no HDF5 file, too.
bool is_simulation(const std::string& path);
/// All that was written. UserError if the file is damaged, or of a version with other phases.
SimulationRecord read_simulation(const std::string& path);

}  // namespace pleiad::io
