#include "pleiad/routing/registry.hpp"

namespace pleiad::routing {

#define PLEIAD_ROUTER(name) RouterVariant name##_variant();
#include "pleiad/routing/variants.def"
#undef PLEIAD_ROUTER

const std::vector<RouterVariant>& router_variants() {
#define PLEIAD_ROUTER(name) name##_variant(),
  static const std::vector<RouterVariant> all = {
#include "pleiad/routing/variants.def"
  };
#undef PLEIAD_ROUTER
  return all;
}

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const RouterVariant& v : router_variants()) names.push_back(v.name);
  return names;
}

const RouterVariant& router_variant(const std::string& name) {
  for (const RouterVariant& v : router_variants()) {
    if (v.name == name) return v;
  }
  user_error("moe.router = {}: must be one of {}", name, fmt::join(router_names(), ", "));
}

}  // namespace pleiad::routing
