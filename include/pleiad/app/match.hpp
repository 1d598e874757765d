// train --match RUN: a control gets as many experts per token as another run had in its last evaluation.
#pragma once
#include <string>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/spec.hpp"

namespace pleiad::app {

/// What a control is matched in.
struct Match {
  /// Experts of mean width per token and MoE layer that cost the floating-point operations measured: expert FLOPs per token over
  /// those of one expert of mean width over the number of MoE layers.
  double mean_k = 0;
  /// Weights of K = 1, 2, 3, ... experts, all layers together, such as 5,3,1; the last may stand for that many or more. Empty if
  /// the record has no histogram.
  std::string k_histogram;
};

/// From RUN/run.h5. UserError if that is no record of a run with feed-forward experts and an evaluation. One rank only.
Match read_match(const std::string& run);

/// Makes the figures of `run` the defaults of moe.mean_k and moe.k_histogram. collective.
void set_match(const comm::Communicator& world, const std::string& run, Spec& moe);

}  // namespace pleiad::app
