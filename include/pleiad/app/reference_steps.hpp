// Real training steps of small models, timed phase by phase beside what the description of a machine predicts for them: what products, bytes and messages by themselves do not say of a step.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/sim/demand.hpp"
#include "pleiad/sim/workload.hpp"

namespace pleiad::app {

/// A step that was measured and predicted, in seconds. Where several ranks made it together phases are those of the rank that has least of each, so that hardly any waits are in them.
struct ReferenceStep {
  std::string name;
  i64 ranks = 1;  ///< that made it together; 1: each rank its own, all at once
  double measured = 0, predicted = 0;
  std::vector<double> measured_phases, predicted_phases;  ///< [k_phase_count]
  sim::StepModel model;
  std::shared_ptr<const sim::Demand> demand;  ///< the routing that it had
};

enum class Together { alone, all, all_with_tokens };
/// Steps of every reference model: each rank its own, or all ranks together, each of them with tokens if so wanted. Few and tiny ones if `quick`. The same on all ranks but for what is predicted: nothing yet. collective.
std::vector<ReferenceStep> time_reference_steps(const comm::Communicator& world, Together how, bool quick);

/// What the description says of the steps.
void predict_steps(const sim::Cluster& cluster, std::vector<ReferenceStep>& steps);

/// Sets what each phase takes over what it was predicted to take: the factor with the least sum of errors, each as a share of its step (a median, weighted with the predicted shares). Phases in which ranks talk to
/// each other are those of ranks together, as far as there are such steps, all others those of ranks alone.
void set_phase_factors(const std::vector<ReferenceStep>& steps, sim::Cluster& cluster);

/// Sets what sharing cores costs beside turns: the median over the steps of measured over predicted, for a doubling. pre: more ranks on a node than cores made the steps, predicted with sharing = 1.
void set_sharing(const std::vector<ReferenceStep>& steps, sim::Cluster& cluster);

/// A line for each step: measured over predicted, of the step and of its phases that are a good part of it.
std::vector<std::string> references_in_words(const std::vector<ReferenceStep>& steps);

}  // namespace pleiad::app
