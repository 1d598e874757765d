// Seconds of the experts of one layer and of the exchange around them, for every rank. Equations: docs/simulate.md.
#pragma once
#include "pleiad/sim/engine.hpp"
#include "pleiad/sim/layer_traffic.hpp"
#include "pleiad/sim/workload.hpp"

namespace pleiad::sim {

/// How tokens travel in a predicted run.
struct Travel {
  bool alone = true;  ///< one rank for each copy of the experts: nothing travels
  exchange::Kind kind = exchange::Kind::all_to_all;
  exchange::Combine combine = exchange::Combine::home;
  i64 chunks = 1;
  std::string in_words() const;
};

/// What the run would choose on this cluster (exchange::predict, with the numbers of the cluster file in place of measured ones). `group`: ranks that share out one copy of the
/// experts. UserError where configuration and ranks do not go together.
Travel choose_travel(const StepModel& model, const Cluster& cluster, i64 group_ranks);

/// One trip of rows between ranks.
struct Trip {
  std::vector<double> hands;  ///< [ranks] time of the rank's processor: copies, messages, sums
  std::vector<double> wire;   ///< [nodes] until the node has sent and got everything, with the latency
};

struct LayerCost {
  Trip plan, there, back[2];         ///< back by Pass: backward brings the gradients of the weights too
  std::vector<double> expert[2];     ///< [ranks] by Pass, of a rank that nothing slows down
  std::vector<double> rows, arrived;  ///< [ranks] rows of its experts; token rows that come to it
  std::vector<double> kept, touched;  ///< [ranks] numbers that experts keep for backward; trainable numbers of experts with rows
  std::vector<double> sent, between;  ///< [ranks] bytes sent in both passes as run.h5 has them; of these between nodes
  LinkLoads loads;                    ///< of all trips of both passes
  Coverage coverage;
  double message = 0;                 ///< bytes of a row message between two partners, mean; 0: none
};

/// Sizes that do not change from layer to layer.
struct LayerFrame {
  const StepModel& model;
  const Cluster& cluster;
  const Demand& demand;
  const Engine& engine;
  Travel travel;
  std::vector<RankGroup> groups;
  std::vector<RankSequences> sequences;  ///< of each group
  std::vector<std::vector<i64>> owned;   ///< [ranks of a group] experts
  std::vector<i64> owner;                ///< [N] rank of a group
};

LayerCost cost_of_layer(const LayerFrame& frame, i64 layer, i64 step);

}  // namespace pleiad::sim
