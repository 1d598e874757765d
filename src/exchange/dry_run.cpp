#include "pleiad/exchange/dry_run.hpp"

#include "pleiad/exchange/all_to_all.hpp"

namespace pleiad::exchange {

std::vector<Traffic> DryRunExchanger::traffic_per_rank(const routing::Assignment& a, const ExpertMap& own_map, const LaneLayout& lanes, i64 width,
                                                       std::vector<i64>* bytes_to) const {
  const std::size_t n = static_cast<std::size_t>(ranks_);
  const ExpertMap map = own_map.for_owners(ranks_);
  std::vector<i64> rows(n * n, 0), entries(n * n, 0);  // [from][to]
  std::vector<i64> last_token(n, -1);
  for (i64 from = 0; from < ranks_; ++from) {
    const Range mine = lanes.sequences_of(from);
    for (i64 t = mine.begin * lanes.seq_len(); t < mine.end() * lanes.seq_len(); ++t) {
      for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
        if (!a.kept[i]) continue;
        const std::size_t to = static_cast<std::size_t>(map.owner(a.expert[i]));
        const std::size_t pair = static_cast<std::size_t>(from) * n + to;
        ++entries[pair];
        if (last_token[to] != t) ++rows[pair];
        last_token[to] = t;
      }
    }
  }
  std::vector<Traffic> all;
  std::vector<i64> recv_rows(n), recv_entries(n);
  for (std::size_t r = 0; r < n; ++r) {
    for (std::size_t s = 0; s < n; ++s) {
      recv_rows[s] = rows[s * n + r];
      recv_entries[s] = entries[s * n + r];
    }
    const std::span<const i64> send_rows(rows.data() + r * n, n), send_entries(entries.data() + r * n, n);
    Traffic& sent = all.emplace_back();
    for (const Traffic& t : traffic_to(send_rows, send_entries, recv_rows, recv_entries, static_cast<i64>(r), width, combine_)) {
      sent += t;
      if (bytes_to && ranks_ <= k_most_paired_ranks) bytes_to->push_back(t.bytes());
    }
  }
  return all;
}

ExchangePlan DryRunExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const {
  ExchangePlan plan = LocalExchanger::make_plan(a, map, lanes, width);
  const LaneLayout pretended(lanes.lanes(), lanes.sequences(), lanes.seq_len(), ranks_, 0);
  for (const Traffic& t : traffic_per_rank(a, map, pretended, width, &plan.bytes_to)) plan.traffic += t;
  return plan;
}

}  // namespace pleiad::exchange
