#include "pleiad/routing/pkm.hpp"

namespace pleiad::routing {

RouterVariant pkm_variant() {
  return {"pkm", "product keys over constant value rows",
          "Lample et al.: Large Memory Layers with Product Keys (NeurIPS 2019, arXiv 1907.05242)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<ProductKeyRouter>(b, "pkm", s); },
          Bank::value};
}

}  // namespace pleiad::routing
