// What train --dry-run prints.
#pragma once
#include "pleiad/app/model_setup.hpp"

namespace pleiad::app {

/// Parameters, memory, floating-point operations and the placement of experts, on rank 0. collective.
void print_sizes(const ModelSetup& setup, const train::TrainConfig& config);

}  // namespace pleiad::app
