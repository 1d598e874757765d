// Waiting without keeping a processor from others: elsewhere ranks ask again and again whether they may go on.
#pragma once
#include "pleiad/comm/communicator.hpp"

namespace pleiad::comm {

/// Until all ranks are here. collective.
void meet_asleep(const Communicator& comm);

}  // namespace pleiad::comm
