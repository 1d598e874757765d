// AllToAllExchanger::make_plan. What goes from one rank to another follows from its tickets, which lie in the order of chunks, in a chunk of tokens: rows
// in the order in which tickets first name them, sums in that order too but by the last chunk that adds to them. So both ends find it for themselves.
// Where chunks are of tokens all of it lies in the order of tokens.
#include <algorithm>
#include <numeric>
#include <utility>

#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/chunks.hpp"
#include "pleiad/exchange/ticket.hpp"

namespace pleiad::exchange {

namespace {

constexpr int k_tickets = 1;

class Planner {
 public:
  Planner(const comm::Communicator& group, const NodeLayout& nodes, const ExpertMap& map, Combine combine, Reach reach, i64 chunks, ChunksOf chunks_of)
      : group_(group), nodes_(nodes), map_(map), combine_(combine), all_(reach == Reach::all), by_token_(chunks_of == ChunksOf::tokens), chunks_(chunks) {}

  ExchangePlan plan(const routing::Assignment& a, const LaneLayout& lanes, i64 width);

 private:
  void write_tickets(const routing::Assignment& a);
  void number_rows(i64 tokens);
  void exchange_tickets(const LaneLayout& lanes);
  void plan_arrivals();
  void count_traffic(i64 width);
  void add_parcels(Parcels& parcels, std::span<const Ticket> tickets, i64 owned, i64 rows);
  Amount amount(const Parcels& parcels, i64 rank) const;
  i64 owned_by(i64 rank) const { return static_cast<i64>(map_.owned_by(rank).size()); }

  const comm::Communicator& group_;
  const NodeLayout& nodes_;
  const ExpertMap& map_;
  Combine combine_;
  bool all_, by_token_;
  i64 chunks_;
  ExchangePlan plan_;
  std::vector<Ticket> tickets_, arrived_;
  std::vector<std::int32_t> token_of_;  // of each of tickets_
  std::vector<i64> sum_row_;            // of each row, that of its sum, filled by add_parcels
};

/// Tickets by rank, chunk and token, with the rows still missing.
void Planner::write_tickets(const routing::Assignment& a) {
  const std::size_t ranks = static_cast<std::size_t>(group_.size());
  std::vector<i64> next(ranks * static_cast<std::size_t>(chunks_) + 1, 0);
  const auto place = [&](std::size_t i) { return static_cast<std::size_t>(map_.owner(a.expert[i]) * chunks_ + (by_token_ ? 0 : chunk_of(map_, a.expert[i], chunks_))); };
  for (std::size_t i = 0; i < a.expert.size(); ++i) {
    if (a.kept[i]) ++next[place(i) + 1];
  }
  std::inclusive_scan(next.begin(), next.end(), next.begin());
  plan_.send_entries.assign(ranks, 0);
  for (std::size_t r = 0; r < ranks; ++r) plan_.send_entries[r] = next[(r + 1) * static_cast<std::size_t>(chunks_)] - next[r * static_cast<std::size_t>(chunks_)];
  tickets_.resize(static_cast<std::size_t>(next.back()));
  token_of_.resize(tickets_.size());
  plan_.return_slot.assign(a.expert.size(), -1);
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
      if (!a.kept[i]) continue;
      const i64 slot = plan_.return_slot[i] = next[place(i)]++;
      tickets_[static_cast<std::size_t>(slot)] = {0, static_cast<std::int32_t>(map_.local_index(a.expert[i])), a.weight[i]};
      token_of_[static_cast<std::size_t>(slot)] = static_cast<std::int32_t>(t);
    }
  }
}

/// Which rows go where, a token's once to a rank, and where sums will come from.
void Planner::number_rows(i64 tokens) {
  std::vector<i64> last_rank(static_cast<std::size_t>(tokens), -1);
  std::vector<std::int32_t> row(static_cast<std::size_t>(tokens));
  plan_.out = Parcels(chunks_);
  i64 at = 0;
  for (i64 r = 0; r < group_.size(); ++r) {
    const i64 first = at, first_row = static_cast<i64>(plan_.send_token.size());
    for (const i64 end = at + plan_.send_entries[r]; at < end; ++at) {
      const std::size_t t = static_cast<std::size_t>(token_of_[static_cast<std::size_t>(at)]);
      if (!all_ && std::exchange(last_rank[t], r) != r) {
        row[t] = static_cast<std::int32_t>(static_cast<i64>(plan_.send_token.size()) - first_row);
        plan_.send_token.push_back(static_cast<i64>(t));
      }
      tickets_[static_cast<std::size_t>(at)].row = all_ ? static_cast<std::int32_t>(t) : row[t];
    }
    plan_.send_rows.push_back(all_ ? tokens : static_cast<i64>(plan_.send_token.size()) - first_row);
    const i64 sums_before = static_cast<i64>(sum_row_.size());
    add_parcels(plan_.out, std::span(tickets_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(at - first)), owned_by(r), plan_.send_rows.back());
    if (combine_ == Combine::home || all_) continue;
    plan_.sum_token.resize(sum_row_.size());
    for (std::size_t i = static_cast<std::size_t>(sums_before); i < sum_row_.size(); ++i) {
      plan_.sum_token[static_cast<std::size_t>(sum_row_[i])] = plan_.send_token[i];
    }
  }
}

/// Adds what the tickets from one rank to another say. For combine = owner, sum_row_ gets the number of each row's sum among all.
void Planner::add_parcels(Parcels& parcels, std::span<const Ticket> tickets, i64 owned, i64 rows) {
  const std::size_t chunks = static_cast<std::size_t>(chunks_);
  std::vector<i64> entries(chunks, 0), first_rows(chunks, 0), sums(chunks, 0), last(static_cast<std::size_t>(rows), 0);
  i64 seen = 0;
  for (const Ticket& t : tickets) {
    const i64 chunk = by_token_ ? chunk_of_row(t.row, rows, chunks_) : chunk_of(t.local_expert, owned, chunks_);
    ++entries[static_cast<std::size_t>(chunk)];
    last[static_cast<std::size_t>(t.row)] = chunk;
    if (t.row != seen) continue;
    ++first_rows[static_cast<std::size_t>(chunk)];
    ++seen;
  }
  if (by_token_ || all_) {  // also rows that no ticket names
    std::ranges::fill(first_rows, i64{0});
    for (i64 row = 0; row < rows; ++row) ++first_rows[static_cast<std::size_t>(last[static_cast<std::size_t>(row)] = chunk_of_row(row, rows, chunks_))];
  }
  for (const i64 chunk : last) ++sums[static_cast<std::size_t>(chunk)];
  if (combine_ == Combine::owner) {
    std::vector<i64> next(chunks, parcels.sums.back());
    for (std::size_t c = 1; c < chunks; ++c) next[c] = next[c - 1] + sums[c - 1];
    for (const i64 chunk : last) sum_row_.push_back(next[static_cast<std::size_t>(chunk)]++);
  }
  for (std::size_t c = 0; c < chunks; ++c) {
    parcels.rows.push_back(parcels.rows.back() + first_rows[c]);
    parcels.entries.push_back(parcels.entries.back() + entries[c]);
    parcels.sums.push_back(parcels.sums.back() + sums[c]);
  }
}

/// A message says by its length how many tickets it brings, and its tickets how many rows will follow, so no counts travel ahead.
void Planner::exchange_tickets(const LaneLayout& lanes) {
  const i64 me = group_.rank();
  const auto of = [&](std::vector<Ticket>& all, const std::vector<i64>& counts, i64 r) {
    return comm::part(all.data() + std::accumulate(counts.begin(), counts.begin() + r, i64{0}), counts[r]);
  };
  comm::Messages messages(group_);
  for_each_other(group_, [&](i64 r) { messages.send(r, k_tickets, {of(tickets_, plan_.send_entries, r)}); });
  plan_.recv_entries.assign(plan_.send_entries.size(), 0);
  plan_.recv_entries[me] = plan_.send_entries[me];
  for_each_other(group_, [&](i64 r) { plan_.recv_entries[r] = comm::bytes_coming(group_, r, k_tickets) / static_cast<i64>(sizeof(Ticket)); });
  arrived_.resize(static_cast<std::size_t>(std::accumulate(plan_.recv_entries.begin(), plan_.recv_entries.end(), i64{0})));
  for_each_other(group_, [&](i64 r) { messages.receive(r, k_tickets, {of(arrived_, plan_.recv_entries, r)}); });
  const comm::Part mine = of(tickets_, plan_.send_entries, me), here = of(arrived_, plan_.recv_entries, me);
  std::copy_n(static_cast<const Ticket*>(mine.data), plan_.send_entries[me], static_cast<Ticket*>(const_cast<void*>(here.data)));
  messages.wait();

  plan_.in = Parcels(chunks_);
  sum_row_.clear();
  const i64 first_rank = lanes.rank() - me;  // of the group, among those that share the batch
  std::size_t at = 0;
  for (i64 r = 0; r < group_.size(); ++r) {
    const std::span<const Ticket> theirs = std::span<const Ticket>(arrived_).subspan(at, static_cast<std::size_t>(plan_.recv_entries[r]));
    i64 rows = all_ ? lanes.sequences_of(first_rank + r).count * lanes.seq_len() : 0;
    for (const Ticket& t : theirs) rows = std::max(rows, t.row + i64{1});
    plan_.recv_rows.push_back(rows);
    add_parcels(plan_.in, theirs, owned_by(me), rows);
    at += theirs.size();
  }
}

void Planner::plan_arrivals() {
  Arrivals arrivals(arrived_.size());
  i64 row = 0;
  std::size_t at = 0;
  for (std::size_t r = 0; r < plan_.recv_entries.size(); row += plan_.recv_rows[r++]) {
    for (i64 i = 0; i < plan_.recv_entries[r]; ++i, ++at) {
      arrivals.set(at, static_cast<std::int32_t>(row + arrived_[at].row), arrived_[at].local_expert, arrived_[at].weight);
    }
  }
  order_by_expert(plan_, arrivals, owned_by(group_.rank()));
  if (!by_token_) {
    plan_.chunk_begin.assign(static_cast<std::size_t>(chunks_) + 1, 0);
    for (std::size_t i = 0; i + 1 < plan_.in.entries.size(); ++i) {
      plan_.chunk_begin[i % static_cast<std::size_t>(chunks_) + 1] += plan_.in.entries[i + 1] - plan_.in.entries[i];
    }
    std::inclusive_scan(plan_.chunk_begin.begin(), plan_.chunk_begin.end(), plan_.chunk_begin.begin());
  }
  if (combine_ == Combine::home) return;
  for (const std::int32_t token : plan_.at_experts.token) plan_.sum_place.push_back(static_cast<std::int32_t>(sum_row_[static_cast<std::size_t>(token)]));
}

Amount Planner::amount(const Parcels& parcels, i64 rank) const {
  const Range rows = parcels.all(parcels.rows, rank), entries = parcels.all(parcels.entries, rank);
  Amount a{rows.count, entries.count, 0, 0, chunks_ > 1};
  for (i64 c = 0; c < chunks_; ++c) {
    a.messages_there += parcels.part(parcels.rows, rank, c).count > 0;
    a.messages_back += parcels.part(combine_ == Combine::home ? parcels.entries : parcels.sums, rank, c).count > 0;
  }
  return a;
}

void Planner::count_traffic(i64 width) {
  if (group_.size() <= k_most_paired_ranks) plan_.bytes_to.assign(static_cast<std::size_t>(group_.size()), 0);
  for_each_other(group_, [&](i64 r) {
    const Way way = nodes_.node_of(r) == nodes_.node_of(group_.rank()) ? Way::messages_within : Way::messages_between;
    const Traffic t = traffic_between_ranks(amount(plan_.out, r), amount(plan_.in, r), width, combine_, way);
    plan_.traffic += t;
    if (!plan_.bytes_to.empty()) plan_.bytes_to[r] = t.bytes();
  });
}

ExchangePlan Planner::plan(const routing::Assignment& a, const LaneLayout& lanes, i64 width) {
  plan_.all_to_all_ranks = all_;
  write_tickets(a);
  number_rows(a.tokens());
  exchange_tickets(lanes);
  plan_arrivals();
  if (combine_ == Combine::home) order_at_home(plan_, a);
  count_traffic(width);
  return std::move(plan_);
}

}  // namespace

ExchangePlan AllToAllExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const {
  PLEIAD_CHECK(map.owners() == group_.size(), "{} owners for {} ranks", map.owners(), group_.size());
  return Planner(group_, nodes_, map, combine_, reach_, chunks_, chunks_of_).plan(a, lanes, width);
}

}  // namespace pleiad::exchange
