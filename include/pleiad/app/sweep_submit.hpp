// pleiad sweep submit: a part of command_sweep.cpp with its own options.
#pragma once
#include "pleiad/app/commands.hpp"

namespace pleiad::app {

/// One rank only.
int run_sweep_submit(const comm::Communicator& world, const Arguments& arguments);

}  // namespace pleiad::app
