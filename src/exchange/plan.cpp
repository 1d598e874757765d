#include "pleiad/exchange/plan.hpp"

#include <numeric>

namespace pleiad::exchange {

Traffic& Traffic::operator+=(const Traffic& more) {
  forward_bytes += more.forward_bytes;
  backward_bytes += more.backward_bytes;
  forward_messages += more.forward_messages;
  backward_messages += more.backward_messages;
  return *this;
}

i64 ExchangePlan::arrived() const { return std::accumulate(recv_rows.begin(), recv_rows.end(), i64{0}); }

void order_by_expert(ExchangePlan& plan, const std::vector<std::int32_t>& local_expert, const std::vector<real>& weight, i64 local_experts) {
  const std::size_t entries = local_expert.size();
  PLEIAD_CHECK(plan.entry_token.size() == entries && weight.size() == entries, "{} assignments, {} tokens", entries, plan.entry_token.size());
  plan.expert_offset.assign(static_cast<std::size_t>(local_experts) + 1, 0);
  for (const std::int32_t e : local_expert) {
    PLEIAD_CHECK(e >= 0 && e < local_experts, "assignment to local expert {} of {}", e, local_experts);
    ++plan.expert_offset[e + 1];
  }
  std::partial_sum(plan.expert_offset.begin(), plan.expert_offset.end(), plan.expert_offset.begin());
  std::vector<i64> next(plan.expert_offset.begin(), plan.expert_offset.end() - 1);
  plan.entry_row.resize(entries);
  plan.row_token.resize(entries);
  plan.row_weight.resize(entries);
  for (std::size_t i = 0; i < entries; ++i) {
    const i64 row = next[local_expert[i]]++;
    plan.entry_row[i] = row;
    plan.row_token[row] = plan.entry_token[i];
    plan.row_weight[row] = weight[i];
  }
}

}  // namespace pleiad::exchange
