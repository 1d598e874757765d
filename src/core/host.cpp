#include "pleiad/core/host.hpp"

#include <unistd.h>

namespace pleiad {

std::string host_name() {
  char name[256] = "unknown";
  gethostname(name, sizeof(name) - 1);
  return name;
}

}  // namespace pleiad
