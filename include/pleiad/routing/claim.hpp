// Decisions about an expert that need all tokens of the global batch (a capacity, an expert's own choice): every claim of a token on
// an expert goes to one judge, rank e mod P, which sees them all, and the verdicts come back.
#pragma once
#include <functional>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::routing {

/// A token that wants an expert, or offers itself to it. Travels as bytes between ranks of one program.
struct Claim {
  i64 token = 0;  ///< global
  double p = 0;
  std::int32_t expert = 0;
  std::int32_t group = 0;  ///< what the judge sorts by within an expert: rank of the choice, or place in the sequence
};

/// One verdict for each claim of this rank, in their order. `judge` gets all claims on the experts it judges, in no particular order
/// that it may rely on, and returns one verdict for each; it must not communicate. collective.
std::vector<std::uint8_t> judge_claims(const comm::Communicator& world, const std::vector<Claim>& claims,
                                       const std::function<std::vector<std::uint8_t>(const std::vector<Claim>&)>& judge);

}  // namespace pleiad::routing
