// What `pleiad simulate` predicts, as a file that explains itself; format pleiad-simulation/1 (docs/file_format.md).
#pragma once
#include "pleiad/io/h5.hpp"
#include "pleiad/sim/prediction.hpp"

namespace pleiad::io {

inline constexpr const char* k_simulation_format = "pleiad-simulation/1";

struct SimulationRecord {
  std::string config, cluster;  ///< resolved configuration; the cluster file as it would be written
  std::string demand, engine;   ///< in words; name
  i64 seed = 0, step = 0;
  std::vector<sim::Prediction> predictions;
};

/// A new file in place of an old one. UserError if it cannot be written.
void write_simulation(const std::string& path, const SimulationRecord& record);

}  // namespace pleiad::io
