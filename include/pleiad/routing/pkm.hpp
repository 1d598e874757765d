// Product-key memory (Lample et al. 2019, arXiv 1907.05242): product-key retrieval over constant value rows. See product_key.hpp.
#pragma once
#include "pleiad/routing/product_key.hpp"

namespace pleiad::routing {

RouterVariant pkm_variant();

}  // namespace pleiad::routing
