// What the description of a cluster wants to know of messages, as probes: over sizes within and between nodes, what a message takes of a processor, and sums over
// all ranks, and MPI_Alltoallv. Pairs of ranks send to each other at the same time, all pairs at once.
#pragma once
#include "pleiad/bench/machine_probes.hpp"
#include "pleiad/exchange/node_layout.hpp"

namespace pleiad::bench {

class MessageProbes {
 public:
  /// References must outlive this.
  MessageProbes(const comm::Communicator& world, const exchange::NodeLayout& nodes, const CalibrationSizes& sizes);
  MessageProbes(const MessageProbes&) = delete;
  MessageProbes& operator=(const MessageProbes&) = delete;
  /// As many on every rank. They refer to this object.
  void add_to(std::vector<Probe>& probes);

 private:
  void add_pairs(std::vector<Probe>& probes, const std::string& group, i64 partner);
  void add_all_to_alls(std::vector<Probe>& probes);
  void send_both_ways(i64 partner, i64 bytes, i64 messages);

  const comm::Communicator& world_;
  const exchange::NodeLayout& nodes_;
  CalibrationSizes sizes_;
  std::vector<char> out_, in_;
  std::vector<double> sum_;
};

/// Puts what measured probes say into the description: latencies and bandwidths are those of the line nearest to the times over the bytes. pre: cluster.ranks_per_node.
void set_network_rates(const CalibrationSizes& sizes, const std::vector<Probe>& probes, sim::Cluster& cluster);

/// Sums over all ranks and MPI_Alltoallv of several lengths: what was measured beside what the description predicts, a line for each.
std::vector<std::string> collectives_in_words(const std::vector<Probe>& probes, const sim::Cluster& cluster);

}  // namespace pleiad::bench
