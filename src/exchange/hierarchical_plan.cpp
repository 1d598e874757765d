// HierarchicalExchanger::make_plan, told by a Planner from top to bottom. Letters: A this node, B a node that gets tokens, S a node they come from.
#include <algorithm>
#include <numeric>
#include <utility>

#include "box_table.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/core/stable_order.hpp"
#include "pleiad/exchange/chunks.hpp"
#include "pleiad/exchange/hierarchical.hpp"
#include "pleiad/exchange/node_plan.hpp"
#include "pleiad/exchange/ticket.hpp"

namespace pleiad::exchange {

namespace {

constexpr int k_tickets = 11;
constexpr i64 k_ticket = static_cast<i64>(sizeof(Ticket)), k_number = static_cast<i64>(sizeof(std::int32_t));

i64 aligned(i64 bytes) { return (bytes + 7) / 8 * 8; }

Range moved(const Range& r, i64 by) { return {r.begin + by, r.count}; }

/// One of our tokens that a node needs: its first and last chunk there, its row of the box and, of all sums that come back, its own.
struct BoxRow {
  std::int32_t token = 0, first = 0, last = 0, row = 0, sum = 0;
};

class Planner {
 public:
  Planner(const comm::Communicator& group, const comm::Communicator& node, const NodeLayout& layout, const ExpertMap& map, HierarchicalExchanger::Room& room,
          Combine combine, i64 chunks)
      : group_(group), node_(node), layout_(layout), map_(map), room_(room), combine_(combine), chunks_(chunks), me_(group.rank()), here_(layout.node_of(me_)),
        place_(layout.place(me_)) {}

  ExchangePlan plan(const routing::Assignment& a, i64 width);

 private:
  void count_needs(const routing::Assignment& a);
  void gather_tables();
  void number_rows();
  void number_boxes();
  void write_tickets(const routing::Assignment& a);
  void exchange_tickets();
  void plan_arrivals();
  void number_results();
  void number_sums();
  void share_partials();
  std::int32_t partial_of(i64 rank, i64 boxed_row) const;
  void plan_sums_on_node();
  void plan_sums_at_home(i64 tokens);
  void plan_ports(i64 width);

  bool far(i64 node) const { return node != here_; }
  bool speaks_for(i64 node) const { return far(node) && layout_.port(here_, node) == me_; }
  i64 ranks_on(i64 node) const { return static_cast<i64>(layout_.ranks_of(node).size()); }
  // A box of tickets: the table; with sums on the node the sum of each row; the tickets.
  i64 bytes_of_sums(const BoxTable& table) const { return combine_ == Combine::owner ? table.all_rows() * k_number : 0; }
  i64 bytes_of_box(const BoxTable& table) const { return table.bytes() + bytes_of_sums(table) + table.all_entries() * k_ticket; }
  /// Where the box of tickets from a node lies.
  const comm::SharedMemory& tickets_from(i64 node) const { return far(node) ? room_.tickets_in : room_.tickets_out; }
  i64 box_from(i64 node) const { return far(node) ? box_in_[node] : box_out_[node]; }

  const comm::Communicator &group_, &node_;
  const NodeLayout& layout_;
  const ExpertMap& map_;
  HierarchicalExchanger::Room& room_;
  Combine combine_;
  i64 chunks_, me_, here_, place_;
  ExchangePlan plan_;
  NodePlan extra_;

  std::vector<std::vector<BoxRow>> rows_;             // [nodes] what this rank sends, by token
  std::vector<i64> rows_to_, entries_to_;             // [P]
  std::vector<BoxTable> out_, in_;                    // [nodes] from here, to here
  std::vector<i64> box_out_, box_in_;                 // [nodes] bytes where boxes of tickets begin
  std::vector<i64> row_in_, row_out_, back_out_, back_in_;  // [nodes] first row of each box of tokens; first place of each box of single results
  std::vector<i64> entry_place_;                            // [arrivals] place of the result, if it goes home by itself
  std::vector<std::int32_t> arrived_;                       // [M] rows of boxes that this rank needs, in order of arrival
  std::vector<Range> results_out_, results_in_;             // [nodes] boxes of results: rows of the memory of the node
  i64 boxed_ = 0;                                           // rows of the boxes that arrive
};

/// Who needs which of our tokens, and in which chunks. The counts of this rank go into the tables.
void Planner::count_needs(const routing::Assignment& a) {
  const std::size_t ranks = static_cast<std::size_t>(layout_.ranks());
  rows_.resize(static_cast<std::size_t>(layout_.nodes()));
  for (i64 b = 0; b < layout_.nodes(); ++b) out_.emplace_back(chunks_, ranks_on(here_), ranks_on(b));
  entries_to_.assign(ranks, 0);
  rows_to_.assign(ranks, 0);
  std::vector<i64> last_of_rank(ranks, -1);
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
      if (!a.kept[i]) continue;
      const i64 to = map_.owner(a.expert[i]), node = layout_.node_of(to);
      const std::int32_t token = static_cast<std::int32_t>(t), chunk = static_cast<std::int32_t>(chunk_of(map_, a.expert[i], chunks_));
      ++entries_to_[to];
      rows_to_[to] += std::exchange(last_of_rank[to], t) != t;
      ++out_[node].entries(chunk, place_, layout_.place(to));
      std::vector<BoxRow>& rows = rows_[node];
      if (rows.empty() || rows.back().token != token) rows.push_back({token, chunk, chunk});
      rows.back().first = std::min(rows.back().first, chunk);
      rows.back().last = std::max(rows.back().last, chunk);
    }
  }
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    for (const BoxRow& row : rows_[b]) {
      ++out_[b].rows(row.first, place_);
      ++out_[b].sums(row.last, place_);
    }
  }
}

/// The counts of all ranks of the node, each of which filled its own.
void Planner::gather_tables() {
  std::vector<std::int32_t> all;
  for (BoxTable& table : out_) all.insert(all.end(), table.counts().begin(), table.counts().end());
  comm::all_reduce_sum<std::int32_t>(node_, all);
  auto from = all.begin();
  for (BoxTable& table : out_) {
    std::copy_n(from, table.counts().size(), table.counts().begin());
    from += static_cast<std::ptrdiff_t>(table.counts().size());
    table.find_places();
  }
}

/// Rows of a box by chunk, then token; sums by their last chunk, then in the order of the rows.
void Planner::number_rows() {
  std::vector<std::int32_t> keys, order;
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    std::vector<BoxRow>& rows = rows_[b];
    keys.resize(rows.size());
    std::ranges::transform(rows, keys.begin(), &BoxRow::first);
    stable_order(keys, chunks_, order);
    std::vector<i64> row(static_cast<std::size_t>(chunks_)), sum(row);
    for (i64 c = 0; c < chunks_; ++c) {
      row[c] = out_[b].first_row(c, place_);
      sum[c] = out_[b].first_sum(c, place_);
    }
    for (const std::int32_t i : order) {
      rows[i].row = static_cast<std::int32_t>(row[rows[i].first]++);
      rows[i].sum = static_cast<std::int32_t>(sum[rows[i].last]++);
    }
  }
}

/// Into the memory of the node; then one message to each other node, whose length says how many tickets it brings.
void Planner::exchange_tickets() {
  comm::Messages messages(group_);
  std::vector<i64> sizes(static_cast<std::size_t>(layout_.nodes()), 0);
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    if (speaks_for(b)) messages.send(layout_.port(b, here_), k_tickets, {comm::part(room_.tickets_out.as<char>(box_out_[b]), bytes_of_box(out_[b]))});
  }
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    if (speaks_for(s)) sizes[s] = comm::bytes_coming(group_, layout_.port(s, here_), k_tickets);
  }
  if (layout_.nodes() > 1) comm::all_reduce_sum<i64>(node_, sizes);
  i64 bytes = 0;
  for (const i64 size : sizes) box_in_.push_back(std::exchange(bytes, bytes + aligned(size)));
  room_.tickets_in.reserve(bytes);
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    if (speaks_for(s)) messages.receive(layout_.port(s, here_), k_tickets, {comm::part(room_.tickets_in.as<char>(box_in_[s]), sizes[s])});
  }
  messages.wait();
  if (layout_.nodes() > 1) room_.tickets_in.meet();
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    in_.push_back(far(s) ? BoxTable(chunks_, ranks_on(s), ranks_on(here_)) : out_[here_]);
    if (!far(s)) continue;
    std::copy_n(room_.tickets_in.as<std::int32_t>(box_in_[s]), in_[s].counts().size(), in_[s].counts().begin());
    in_[s].find_places();
  }
}

/// Tickets from this rank to another by token, then in list order; where each result will come back.
void Planner::write_tickets(const routing::Assignment& a) {
  i64 bytes = 0;
  for (const BoxTable& table : out_) box_out_.push_back(std::exchange(bytes, bytes + aligned(bytes_of_box(table))));
  room_.tickets_out.reserve(bytes);
  const std::size_t ranks = static_cast<std::size_t>(layout_.ranks()), chunks = static_cast<std::size_t>(chunks_);
  std::vector<Ticket*> next(ranks);
  std::vector<i64> back(ranks * chunks);
  for (i64 r = 0; r < layout_.ranks(); ++r) {
    const i64 b = layout_.node_of(r), d = layout_.place(r);
    next[r] = room_.tickets_out.as<Ticket>(box_out_[b] + out_[b].bytes() + bytes_of_sums(out_[b])) + out_[b].tickets(place_, d).begin;
    for (i64 c = 0; c < chunks_; ++c) back[static_cast<std::size_t>(r) * chunks + static_cast<std::size_t>(c)] = out_[b].first_entry(c, place_, d);
  }
  std::vector<const BoxRow*> row;
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    row.push_back(rows_[b].data());
    if (place_ == 0) std::ranges::copy(out_[b].counts(), room_.tickets_out.as<std::int32_t>(box_out_[b]));
    std::int32_t* sums = room_.tickets_out.as<std::int32_t>(box_out_[b] + out_[b].bytes());
    for (const BoxRow& r : rows_[b]) {
      if (combine_ == Combine::owner) sums[r.row] = r.sum;
    }
  }
  plan_.return_slot.assign(a.expert.size(), -1);
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
      if (!a.kept[i]) continue;
      const i64 to = map_.owner(a.expert[i]), node = layout_.node_of(to), chunk = chunk_of(map_, a.expert[i], chunks_);
      if (row[node]->token != t) ++row[node];
      *next[to]++ = {row[node]->row, static_cast<std::int32_t>(map_.local_index(a.expert[i])), a.weight[i]};
      plan_.return_slot[i] = back[static_cast<std::size_t>(to) * chunks + static_cast<std::size_t>(chunk)]++;
    }
  }
  room_.tickets_out.meet();
}

void Planner::number_boxes() {
  for (const BoxTable& table : in_) {
    row_in_.push_back(std::exchange(extra_.box_rows, extra_.box_rows + table.all_rows()));
    back_out_.push_back(std::exchange(extra_.weights, extra_.weights + table.all_entries()));
  }
  extra_.near = {row_in_[here_], in_[here_].all_rows()};
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    row_out_.push_back(far(b) ? std::exchange(extra_.box_rows, extra_.box_rows + out_[b].all_rows()) : row_in_[b]);
    back_in_.push_back(far(b) ? std::exchange(extra_.weights, extra_.weights + out_[b].all_entries()) : back_out_[b]);
    for (const BoxRow& row : rows_[b]) extra_.put.push_back({row.token, static_cast<std::int32_t>(row_out_[b] + row.row)});
  }
}

/// Reads the tickets for this rank, by rank of origin, so that rows of an expert keep the global order of tokens.
void Planner::plan_arrivals() {
  const std::size_t ranks = static_cast<std::size_t>(layout_.ranks());
  const i64 owned = static_cast<i64>(map_.owned_by(me_).size());
  plan_.recv_rows.assign(ranks, 0);
  plan_.recv_entries.assign(ranks, 0);
  i64 arrivals_in_all = 0;
  for (i64 s = 0; s < layout_.ranks(); ++s) arrivals_in_all += plan_.recv_entries[s] = in_[layout_.node_of(s)].tickets(layout_.place(s), place_).count;
  Arrivals arrivals(static_cast<std::size_t>(arrivals_in_all));
  std::vector<i64> back(static_cast<std::size_t>(chunks_)), rows_of_chunk(back.size() + 1, 0);
  std::size_t at = 0;
  for (i64 s = 0; s < layout_.ranks(); ++s) {
    const i64 node = layout_.node_of(s), before_it = static_cast<i64>(arrived_.size());
    const BoxTable& table = in_[node];
    for (i64 c = 0; c < chunks_; ++c) back[c] = back_out_[node] + table.first_entry(c, layout_.place(s), place_);
    const Ticket* ticket = tickets_from(node).as<Ticket>(box_from(node) + table.bytes() + bytes_of_sums(table)) + table.tickets(layout_.place(s), place_).begin;
    std::int32_t last = -1;
    for (i64 i = 0; i < plan_.recv_entries[s]; ++i, ++at, ++ticket) {
      const i64 chunk = chunk_of(ticket->local_expert, owned, chunks_);
      if (std::exchange(last, ticket->row) != ticket->row) arrived_.push_back(static_cast<std::int32_t>(row_in_[node] + ticket->row));
      arrivals.set(at, arrived_.back(), ticket->local_expert, ticket->weight);
      entry_place_.push_back(back[chunk]++);
      ++rows_of_chunk[chunk + 1];
    }
    plan_.recv_rows[s] = static_cast<i64>(arrived_.size()) - before_it;
  }
  order_by_expert(plan_, arrivals, owned);
  for (const std::int32_t arrival : plan_.row_entry) extra_.weight_place.push_back(static_cast<std::int32_t>(entry_place_[static_cast<std::size_t>(arrival)]));
  std::inclusive_scan(rows_of_chunk.begin(), rows_of_chunk.end(), rows_of_chunk.begin());
  plan_.chunk_begin = std::move(rows_of_chunk);
}

/// combine = home: a place for each single result.
void Planner::number_results() {
  extra_.landing = extra_.weight_place;
  extra_.result_rows = extra_.weights;
  for (std::size_t x = 0; x < in_.size(); ++x) {
    results_out_.push_back({back_out_[x], in_[x].all_entries()});
    results_in_.push_back({back_in_[x], out_[x].all_entries()});
  }
}

/// combine = owner: each rank adds its experts' rows of a token into one of its own; the node adds those of its ranks, in their order, and sends the
/// sum away.
void Planner::number_sums() {
  const i64 kept = static_cast<i64>(arrived_.size());
  std::vector<i64> partial = comm::all_gather<i64>(node_, std::span<const i64>(&kept, 1));
  const auto take = [&](i64 rows) { return Range{std::exchange(extra_.result_rows, extra_.result_rows + rows), rows}; };
  for (i64& n : partial) n = take(n).begin;
  extra_.partial = {partial[place_], kept};
  for (i64 x = 0; x < layout_.nodes(); ++x) {
    results_in_.push_back(take(far(x) ? out_[x].all_rows() : 0));
    results_out_.push_back(take(far(x) ? in_[x].all_rows() : 0));
  }
}

/// Tells the ranks of the node, and our experts, which of our sums belong to the rows of boxes that arrived.
void Planner::share_partials() {
  boxed_ = row_in_.back() + in_.back().all_rows();
  room_.partials.reserve(node_.size() * boxed_ * k_number);
  std::int32_t* mine = room_.partials.as<std::int32_t>() + place_ * boxed_;
  std::fill_n(mine, boxed_, -1);
  std::int32_t sum = static_cast<std::int32_t>(extra_.partial.begin);
  for (const std::int32_t row : arrived_) mine[row] = sum++;
  for (const std::int32_t row : plan_.at_experts.token) extra_.landing.push_back(mine[row]);
  room_.partials.meet();
}

/// The row in which a rank of the node added up what belongs to a row of a box; -1 if it had nothing to do with it.
std::int32_t Planner::partial_of(i64 rank, i64 boxed_row) const { return room_.partials.as<std::int32_t>()[rank * boxed_ + boxed_row]; }

/// This rank's share of the sums that go away, chunk by chunk.
void Planner::plan_sums_on_node() {
  std::vector<std::vector<NodeSum>> sums(static_cast<std::size_t>(chunks_));
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    const Range mine = far(s) ? share(in_[s].all_rows(), node_.size(), place_) : Range{};
    const std::int32_t* sum_of = tickets_from(s).as<std::int32_t>(box_from(s) + in_[s].bytes());
    for (i64 j = mine.begin; j < mine.end(); ++j) {
      i64 chunk = 0;
      while (sum_of[j] >= in_[s].sums_of(chunk).end()) ++chunk;
      for (i64 d = 0; d < node_.size(); ++d) {
        const std::int32_t from = partial_of(d, row_in_[s] + j);
        if (from >= 0) sums[chunk].push_back({static_cast<std::int32_t>(results_out_[s].begin + sum_of[j]), from});
      }
    }
  }
  extra_.sums_begin = {0};
  for (const std::vector<NodeSum>& chunk : sums) {
    extra_.sums.insert(extra_.sums.end(), chunk.begin(), chunk.end());
    extra_.sums_begin.push_back(static_cast<i64>(extra_.sums.size()));
  }
}

/// At home nodes are added in their order; the ranks of this node count one by one.
void Planner::plan_sums_at_home(i64 tokens) {
  std::vector<HomeEntry> home;
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    for (const BoxRow& row : rows_[b]) {
      if (far(b)) home.push_back({row.token, 0, static_cast<std::int32_t>(results_in_[b].begin + row.sum)});
      for (i64 d = 0; !far(b) && d < node_.size(); ++d) {
        const std::int32_t from = partial_of(d, row_in_[b] + row.row);
        if (from >= 0) home.push_back({row.token, 0, from});
      }
    }
  }
  std::vector<std::int32_t> keys(home.size()), order;
  std::ranges::transform(home, keys.begin(), &HomeEntry::token);
  stable_order(keys, tokens, order);
  for (const std::int32_t i : order) plan_.home.push_back(home[static_cast<std::size_t>(i)]);
}

/// The messages of this rank, and all its traffic.
void Planner::plan_ports(i64 width) {
  if (group_.size() <= k_most_paired_ranks) plan_.bytes_to.assign(static_cast<std::size_t>(group_.size()), 0);
  const auto count = [&](i64 to, const Traffic& t) {
    plan_.traffic += t;
    if (!plan_.bytes_to.empty()) plan_.bytes_to[to] += t.bytes();
  };
  const bool home = combine_ == Combine::home;
  for (i64 x = 0; x < layout_.nodes(); ++x) {
    if (!speaks_for(x)) continue;
    PortMessages port{layout_.port(x, here_), {}, {back_out_[x], in_[x].all_entries()}, {back_in_[x], out_[x].all_entries()}};
    for (i64 c = 0; c < chunks_; ++c) {
      port.chunks.push_back({moved(out_[x].rows_of(c), row_out_[x]), moved(in_[x].rows_of(c), row_in_[x]),
                             moved(home ? in_[x].entries_of(c) : in_[x].sums_of(c), results_out_[x].begin),
                             moved(home ? out_[x].entries_of(c) : out_[x].sums_of(c), results_in_[x].begin)});
    }
    count(port.peer, traffic_between_nodes(out_[x].amount(combine_), in_[x].amount(combine_), out_[x].bytes(), width, combine_));
    extra_.ports.push_back(std::move(port));
  }
  for (const i64 r : layout_.ranks_of(here_)) {
    if (r == me_) continue;
    count(r, traffic_between_ranks(Amount::whole(rows_to_[r], entries_to_[r], combine_), Amount::whole(plan_.recv_rows[r], plan_.recv_entries[r], combine_), width,
                                   combine_, Way::shared_memory));
  }
}

ExchangePlan Planner::plan(const routing::Assignment& a, i64 width) {
  count_needs(a);
  gather_tables();
  number_rows();
  write_tickets(a);
  exchange_tickets();
  number_boxes();
  for (std::size_t i = 0; i < a.expert.size(); ++i) {
    if (a.kept[i]) plan_.return_slot[i] += back_in_[layout_.node_of(map_.owner(a.expert[i]))];
  }
  plan_arrivals();
  if (combine_ == Combine::home) {
    number_results();
    order_at_home(plan_, a);
  } else {
    number_sums();
    share_partials();
    plan_sums_on_node();
    plan_sums_at_home(a.tokens());
  }
  plan_ports(width);
  plan_.send_rows = std::move(rows_to_);
  plan_.send_entries = std::move(entries_to_);
  plan_.nodes = std::make_shared<const NodePlan>(std::move(extra_));
  return std::move(plan_);
}

}  // namespace

ExchangePlan HierarchicalExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout&, i64 width) const {
  PLEIAD_CHECK(map.owners() == group_.size(), "{} owners for {} ranks", map.owners(), group_.size());
  return Planner(group_, node_, layout_, map, room_, combine_, chunks_).plan(a, width);
}

}  // namespace pleiad::exchange
