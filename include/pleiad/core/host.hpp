// The machine that this process runs on.
#pragma once
#include <string>

namespace pleiad {

/// Its name in the network, as people know the node.
std::string host_name();

}  // namespace pleiad
