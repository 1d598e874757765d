// A described cluster: what the prediction of a training step knows of a machine. Written by hand or by measurement, as an INI file of six sections. Every
// time and rate is that of one rank with a core of its own while all cores of its node do the same. Read next: workload.hpp, engine.hpp.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "pleiad/core/clock.hpp"
#include "pleiad/core/spec.hpp"
#include "pleiad/sim/rate_table.hpp"

namespace pleiad::sim {

enum class Topology { one_switch, fat_tree, dragonfly, torus };

/// What a rank computes.
struct Compute {
  RateTable gemm;      ///< flop/s over rows and width: products whose rows are tokens (forward, gradient of tokens); the width is the lesser of the other two extents
  RateTable gradient;  ///< the same where tokens are summed over (gradient of weights)
  RateTable bf16;      ///< `gemm` with factors in bf16; empty: not known
  RateTable attention; ///< flop/s over length and width of a head: what attention does between its four products, softmax included; empty: as `gemm`, and its elements
  double elements = 0;        ///< numbers per second through softmax, activation or selection
  double route_seconds = 0;   ///< of a token in a router with a logit for each expert beside products and elements, forward
  double key_seconds = 0;     ///< of an expert that product keys find, likewise
  double claim_seconds = 0;   ///< to judge one claim of a token on an expert: capacity, experts that choose
  double plan_seconds = 0;    ///< to plan and count one assignment of a token to an expert
  double call_seconds = 0;    ///< what each expert with rows costs beside its products, in each pass
  bool operator==(const Compute&) const = default;
};

/// Bytes per second of a rank.
struct Memory {
  double stream = 0;  ///< read and written in order, both counted
  RateTable cached;   ///< the same over the bytes of what is gone through again and again (widths: 1), where caches hold it; empty: as `stream`
  double copy = 0;    ///< copied: each byte counted once
  RateTable random;   ///< whole rows read at random places, over the bytes of a row and (widths) of all that they are among
  /// Of so many bytes that are gone through again and again; 0: more than caches hold.
  double stream_of(double bytes) const;
  /// Of rows that lie among so many bytes; 0: more than caches hold.
  double random_of(double row, double among) const;
  bool operator==(const Memory&) const = default;
};

/// Seconds, and bytes per second each way.
struct Network {
  double within_latency = 0, within_bandwidth = 0;  ///< between two ranks of a node, of each rank
  double latency = 0, nic_bandwidth = 0;            ///< between two nodes next to each other; of the network interface of a node, for all its ranks
  double message_seconds = 0;                       ///< processor time of a rank for each message, sent or received
  double hop_latency = 0;                           ///< of each switch or router beyond the first
  double least_message = 0, most_message = 0;       ///< bytes of the messages these were measured with; both 0: not known
  Topology topology = Topology::one_switch;
  i64 leaf_nodes = 0;                   ///< fat_tree: nodes of a leaf switch
  double oversubscription = 1;          ///< fat_tree: bandwidth down to the nodes of a leaf over that up to the spine
  i64 routers = 0, router_nodes = 0;    ///< dragonfly: routers of a group, nodes of a router
  double local_bandwidth = 0, global_bandwidth = 0;  ///< dragonfly: between two routers of a group, between two groups
  std::vector<i64> torus;               ///< torus: nodes along each axis
  double link_bandwidth = 0;            ///< torus: between two neighbours
  bool operator==(const Network&) const = default;
};

/// The sections of a cluster file before anybody has read them.
struct ClusterSpecs {
  Spec cluster{"cluster"}, compute{"compute"}, memory{"memory"}, network{"network"}, phases{"phases"}, stragglers{"stragglers"};
  std::vector<Spec*> all() { return {&cluster, &compute, &memory, &network, &phases, &stragglers}; }
  /// UserError if there is no section of that name.
  Spec& section(const std::string& name);
};

/// Of each phase of a step, 1 where nothing is known.
using PhaseFactors = std::array<double, k_phase_count>;
constexpr PhaseFactors as_rates_say() {
  PhaseFactors all{};
  for (double& f : all) f = 1;
  return all;
}
/// Those that a prediction has.
inline constexpr Phase k_predicted_phases[] = {Phase::embed, Phase::attention, Phase::norm, Phase::router, Phase::plan, Phase::exchange, Phase::expert, Phase::dense_ffn, Phase::head, Phase::grad_sync, Phase::optimizer};

struct Cluster {
  std::string name, origin;  ///< origin: where the numbers are from
  i64 nodes = 0, ranks_per_node = 0;
  i64 cores = 0;             ///< of a node, for its ranks
  double sharing = 1;        ///< how many times as long all takes that a processor does where each core has twice as many ranks, beside the turns they take
  double node_memory = 0;    ///< bytes; 0: not known
  Compute compute;
  Memory memory;
  Network network;
  PhaseFactors phases = as_rates_say();  ///< how many times as long each takes in real steps as by the rates above
  std::vector<double> slowness;  ///< [nodes] how many times as long a rank there computes as the rates say, with a core of its own

  i64 ranks() const { return nodes * ranks_per_node; }
  i64 node_of(i64 rank) const { return rank / ranks_per_node; }
  double factor(Phase phase) const { return phases[static_cast<std::size_t>(phase)]; }
  /// The same machine with so many ranks: whole nodes, the last one perhaps not full; one node with fewer ranks. Stragglers keep their place. UserError for a
  /// topology that cannot have that many nodes.
  Cluster with_ranks(i64 ranks) const;

  /// UserError for a key that is missing, unknown or contradicts another one.
  static Cluster read(ClusterSpecs& specs);
  bool operator==(const Cluster&) const = default;
};

/// An INI file that read() makes the same cluster of, every key with its meaning.
std::string in_ini_form(const Cluster& cluster);

}  // namespace pleiad::sim
