#include "pleiad/routing/peer.hpp"

namespace pleiad::routing {

RouterVariant peer_variant() {
  return {"peer", "product keys over single-neuron experts",
          "He: Mixture of A Million Experts (2024, arXiv 2407.04153)",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<ProductKeyRouter>(b, "peer", s); },
          Bank::neuron};
}

}  // namespace pleiad::routing
