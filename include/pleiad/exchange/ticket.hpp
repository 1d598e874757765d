// What travels ahead of the rows, as bytes between ranks of one program: which experts want a token, with which weight.
#pragma once
#include <cstdint>

#include "pleiad/core/real.hpp"

namespace pleiad::exchange {

struct Ticket {
  std::int32_t row = 0;           // number of the token's row among those sent there
  std::int32_t local_expert = 0;  // at the owner
  real weight = 0;
};

}  // namespace pleiad::exchange
