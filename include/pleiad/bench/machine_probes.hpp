// What the description of a cluster (sim/cluster.hpp) wants to know of processors and memory, as probes: products over rows and widths, attention, numbers through
// softmax, activation and selection, memory in order, copied and at random places. Read next: message_probes.hpp.
#pragma once
#include <memory>

#include "pleiad/bench/probe.hpp"
#include "pleiad/sim/cluster.hpp"

namespace pleiad::bench {

struct CalibrationSizes {
  std::vector<double> rows{1, 4, 16, 64, 256, 1024}, widths{8, 32, 128, 512};
  std::vector<double> lengths{32, 128, 512}, heads{16, 64};  ///< of sequences, and widths of a head
  i64 memory_bytes = i64{64} << 20;                       ///< that each of stream, copy and random rows goes through
  std::vector<double> cached_bytes{1 << 20, 4 << 20, 16 << 20};  ///< of what stream also goes through again and again, and of tables whose rows are read at random
  std::vector<double> row_bytes{64, 256, 1024, 4096};     ///< of rows at random places
  std::vector<double> messages{8, 512, 4096, 32768, 262144, 2097152};  ///< bytes
  /// So little that it takes no time and says nothing.
  static CalibrationSizes quick();
  /// Bytes of the tables whose rows are read at random: those that caches may hold, and memory.
  std::vector<double> tables() const;
};

class MachineProbes {
 public:
  MachineProbes(const CalibrationSizes& sizes, bool bf16);
  ~MachineProbes();
  MachineProbes(const MachineProbes&) = delete;
  MachineProbes& operator=(const MachineProbes&) = delete;
  /// They refer to this object.
  void add_to(std::vector<Probe>& probes);

 private:
  struct Arrays;
  void add_products(std::vector<Probe>& probes, i64 rows, i64 width);
  void add_attention(std::vector<Probe>& probes);

  CalibrationSizes sizes_;
  bool bf16_;
  std::unique_ptr<Arrays> arrays_;
};

/// Puts the rates of measured probes into the description.
void set_machine_rates(const CalibrationSizes& sizes, const std::vector<Probe>& probes, sim::Cluster& cluster);

}  // namespace pleiad::bench
