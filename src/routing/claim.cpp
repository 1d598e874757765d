#include "pleiad/routing/claim.hpp"

#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::routing {

std::vector<std::uint8_t> judge_claims(const comm::Communicator& world, const std::vector<Claim>& claims,
                                       const std::function<std::vector<std::uint8_t>(const std::vector<Claim>&)>& judge) {
  std::vector<std::vector<i64>> claims_for(static_cast<std::size_t>(world.size()));  // by judge
  for (std::size_t i = 0; i < claims.size(); ++i) claims_for[claims[i].expert % world.size()].push_back(static_cast<i64>(i));
  std::vector<i64> send_counts;
  std::vector<Claim> send;
  for (const auto& list : claims_for) {
    send_counts.push_back(static_cast<i64>(list.size()));
    for (const i64 i : list) send.push_back(claims[i]);
  }
  const std::vector<i64> recv_counts = comm::all_to_all_counts(world, send_counts);
  std::vector<Claim> cases(static_cast<std::size_t>(std::accumulate(recv_counts.begin(), recv_counts.end(), i64{0})));
  comm::all_to_all_rows<char>(world, reinterpret_cast<const char*>(send.data()), send_counts, reinterpret_cast<char*>(cases.data()),
                              recv_counts, sizeof(Claim));
  const std::vector<std::uint8_t> verdicts = judge(cases);
  std::vector<std::uint8_t> back(send.size()), answer(claims.size());
  comm::all_to_all_rows<std::uint8_t>(world, verdicts.data(), recv_counts, back.data(), send_counts, 1);
  std::size_t at = 0;
  for (const auto& list : claims_for) {
    for (const i64 i : list) answer[i] = back[at++];
  }
  return answer;
}

}  // namespace pleiad::routing
