// train --match RUN: a control router gets the experts that another run used in its last evaluation: matched_topk as many floating-point
// operations, counted in experts of its own, random_k the same histogram of K.
#pragma once
#include <string>

#include "pleiad/app/config.hpp"
#include "pleiad/comm/communicator.hpp"

namespace pleiad::app {

/// What a control is matched in.
struct Match {
  double expert_flops_per_token = 0;  ///< forward, kept assignments, all MoE layers
  /// Weights of K = 1, 2, 3, ... experts, all layers together, such as 5,3,1; the last may stand for that many or more. Empty if
  /// the record has no histogram.
  std::string k_histogram;
};

/// `run` is a run directory or its run.h5. UserError if it has no experts or no evaluation. One rank only.
Match read_match(const std::string& run);
/// Experts of mean width per token and MoE layer of `config` that take so many operations.
double matched_mean_k(const Match& match, Config config);
/// Sets moe.mean_k or moe.k_histogram unless the user did. UserError on all ranks if the router takes neither, or cannot be matched. collective.
void set_match(const comm::Communicator& world, const std::string& run, Config& config);

}  // namespace pleiad::app
