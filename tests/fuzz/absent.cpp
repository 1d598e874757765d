// What the readers mention of files that are not built for the fuzzers.
#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

std::vector<std::string> router_names() {
  return {
#define PLEIAD_ROUTER(name) #name,
#include "pleiad/routing/variants.def"
#undef PLEIAD_ROUTER
  };
}

}  // namespace pleiad::routing
