// PEER: Mixture of a Million Experts (He 2024, arXiv 2407.04153): product-key retrieval over single-neuron experts. See product_key.hpp.
#pragma once
#include "pleiad/routing/product_key.hpp"

namespace pleiad::routing {

RouterVariant peer_variant();

}  // namespace pleiad::routing
