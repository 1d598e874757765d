// What routing, planning and experts take beside products and memory: the time of a real layer less what its products, elements and bytes explain.
#pragma once
#include "pleiad/comm/communicator.hpp"
#include "pleiad/sim/workload.hpp"

namespace pleiad::app {

/// Of a forward and backward pass of one layer.
struct LayerSeconds {
  double router = 0, plan = 0, expert = 0;
};

/// Runs a small layer with many narrow experts, each rank by itself and all at once; `passes` of them. Mean over the ranks of their medians. collective.
LayerSeconds measure_layer(const comm::Communicator& world, bool quick, i64 passes, sim::StepModel& model);

/// Sets route_seconds, plan_seconds and call_seconds so that the description explains the times of that layer on one rank; 0 where it explains more than was measured.
void set_layer_rates(const sim::StepModel& model, const LayerSeconds& measured, sim::Cluster& cluster);

}  // namespace pleiad::app
