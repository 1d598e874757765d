// What routing, planning and experts take beside products and memory: the time of a real layer less what its products, elements and bytes explain.
#pragma once
#include "pleiad/comm/communicator.hpp"
#include "pleiad/sim/workload.hpp"

namespace pleiad::app {

/// Of a forward and backward pass of one layer.
struct LayerSeconds {
  double router = 0, plan = 0, expert = 0;
};

/// A small layer: tokens that choose among many small experts, experts that choose, product keys over single neurons.
enum class SmallLayer { topk, expert_choice, product_keys };

/// Runs the layer, each rank by itself and all at once; `passes` of them. Mean over the ranks of their medians. collective.
LayerSeconds measure_layer(const comm::Communicator& world, SmallLayer which, bool quick, i64 passes, sim::StepModel& model);

/// Sets what the layer tells, so that the description explains its times on one rank: route_seconds, plan_seconds and call_seconds where tokens choose, claim_seconds where experts do, key_seconds. 0 where the
/// description explains more than was measured. pre: claim_seconds and key_seconds after the others.
void set_layer_rates(const sim::StepModel& model, const LayerSeconds& measured, sim::Cluster& cluster);

}  // namespace pleiad::app
