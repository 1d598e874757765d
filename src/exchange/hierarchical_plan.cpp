// HierarchicalExchanger::make_plan, told by a Planner from top to bottom. Letters: A this node, B a node that gets tokens, S a node they come from.
#include <algorithm>
#include <numeric>
#include <utility>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/core/stable_order.hpp"
#include "pleiad/exchange/hierarchical.hpp"
#include "pleiad/exchange/node_plan.hpp"
#include "pleiad/exchange/ticket.hpp"

namespace pleiad::exchange {

namespace {

constexpr int k_tickets = 11;
constexpr i64 k_ticket = static_cast<i64>(sizeof(Ticket));

i64 aligned(i64 bytes) { return (bytes + 7) / 8 * 8; }

/// What goes from one node to another: rows of each rank here, tickets from each rank here to each rank there. It travels ahead of the tickets.
struct BoxTable {
  i64 here = 0, there = 0;
  std::vector<std::int32_t> counts;  // [here, 1 + there]
  BoxTable() = default;
  BoxTable(i64 h, i64 t) : here(h), there(t), counts(static_cast<std::size_t>(h * (1 + t))) {}

  std::int32_t& rows(i64 s) { return counts[static_cast<std::size_t>(s * (1 + there))]; }
  std::int32_t& entries(i64 s, i64 d) { return counts[static_cast<std::size_t>(s * (1 + there) + 1 + d)]; }
  i64 rows(i64 s) const { return counts[static_cast<std::size_t>(s * (1 + there))]; }
  i64 entries(i64 s, i64 d) const { return counts[static_cast<std::size_t>(s * (1 + there) + 1 + d)]; }
  i64 rows_before(i64 s) const {
    i64 n = 0;
    for (i64 i = 0; i < s; ++i) n += rows(i);
    return n;
  }
  /// Tickets ahead of those from s to d.
  i64 entries_before(i64 s, i64 d) const {
    i64 n = 0;
    for (i64 i = 0; i < s; ++i) n += std::accumulate(&counts[static_cast<std::size_t>(i * (1 + there) + 1)], counts.data() + (i + 1) * (1 + there), i64{0});
    for (i64 j = 0; j < d; ++j) n += entries(s, j);
    return n;
  }
  Amount amount(Combine combine = Combine::home) const { return Amount::whole(rows_before(here), entries_before(here, 0), combine); }
  i64 bytes() const { return ticket_table_bytes(here, there); }
};

class Planner {
 public:
  Planner(const comm::Communicator& group, const comm::Communicator& node, const NodeLayout& layout, HierarchicalExchanger::Room& room, Combine combine)
      : group_(group), node_(node), layout_(layout), room_(room), combine_(combine), me_(group.rank()), here_(layout.node_of(me_)), place_(layout.place(me_)) {}

  ExchangePlan plan(const routing::Assignment& a, const ExpertMap& map, i64 width);

 private:
  void write_tickets(const routing::Assignment& a, const ExpertMap& map);
  void gather_tables();
  void exchange_tickets();
  void number_boxes();
  void plan_arrivals(i64 local_experts);
  void plan_returns(const routing::Assignment& a, const ExpertMap& map);
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

  const comm::Communicator &group_, &node_;
  const NodeLayout& layout_;
  HierarchicalExchanger::Room& room_;
  Combine combine_;
  i64 me_, here_, place_;
  ExchangePlan plan_;
  NodePlan extra_;

  // What this rank sends.
  std::vector<i64> rows_to_node_, first_token_;  // [nodes], [nodes+1] in extra_.put_token
  std::vector<i64> entries_to_, rows_to_;        // [P]
  std::vector<i64> first_ticket_;                // [P+1]
  std::vector<Ticket> tickets_;
  std::vector<std::int32_t> ticket_of_;          // [nnz] number of the ticket among those to the same rank
  // What all do.
  std::vector<BoxTable> out_, in_;                    // [nodes] from here, to here
  std::vector<i64> box_out_, box_in_;                 // [nodes] bytes where boxes of tickets begin
  std::vector<i64> row_in_, row_out_, back_out_, back_in_;  // [nodes] first row of each box of tokens; first place of each box of single results
  std::vector<i64> entry_place_;                            // [arrivals] place of the result, if it goes home by itself
  std::vector<std::int32_t> arrived_;                       // [M] rows of boxes that this rank needs, in order of arrival
  std::vector<Range> results_out_, results_in_;             // [nodes] boxes of results: rows of the memory of the node
  i64 boxed_ = 0;                                           // rows of the boxes that arrive
};

/// Who needs which of our tokens; tickets by rank, those of one rank by token, then in list order.
void Planner::write_tickets(const routing::Assignment& a, const ExpertMap& map) {
  const std::size_t ranks = static_cast<std::size_t>(layout_.ranks()), nodes = static_cast<std::size_t>(layout_.nodes());
  rows_to_node_.assign(nodes, 0);
  entries_to_.assign(ranks, 0);
  rows_to_.assign(ranks, 0);
  std::vector<i64> last(nodes), last_of_rank(ranks);
  // work(token, entry, rank, node, whether it is the token's first entry for the rank, for the node)
  const auto for_each_kept = [&](auto work) {
    std::ranges::fill(last, -1);
    std::ranges::fill(last_of_rank, -1);
    for (i64 t = 0; t < a.tokens(); ++t) {
      for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
        if (!a.kept[i]) continue;
        const i64 to = map.owner(a.expert[i]), node = layout_.node_of(to);
        const bool first_of_rank = std::exchange(last_of_rank[to], t) != t, first_of_node = std::exchange(last[node], t) != t;
        work(t, i, to, node, first_of_rank, first_of_node);
      }
    }
  };
  for_each_kept([&](i64, std::size_t, i64 to, i64 node, bool first_of_rank, bool first) {
    ++entries_to_[to];
    rows_to_[to] += first_of_rank;
    rows_to_node_[node] += first;
  });
  first_ticket_.assign(ranks + 1, 0);
  first_token_.assign(nodes + 1, 0);
  std::inclusive_scan(entries_to_.begin(), entries_to_.end(), first_ticket_.begin() + 1);
  std::inclusive_scan(rows_to_node_.begin(), rows_to_node_.end(), first_token_.begin() + 1);
  std::vector<i64> token = first_token_, ticket = first_ticket_;
  extra_.put_token.resize(static_cast<std::size_t>(first_token_.back()));
  tickets_.resize(static_cast<std::size_t>(first_ticket_.back()));
  ticket_of_.assign(a.expert.size(), -1);
  for_each_kept([&](i64 t, std::size_t i, i64 to, i64 node, bool, bool first) {
    if (first) extra_.put_token[static_cast<std::size_t>(token[node]++)] = static_cast<std::int32_t>(t);
    const i64 row = token[node] - first_token_[node] - 1;
    ticket_of_[i] = static_cast<std::int32_t>(ticket[to] - first_ticket_[to]);
    tickets_[static_cast<std::size_t>(ticket[to]++)] = {static_cast<std::int32_t>(row), static_cast<std::int32_t>(map.local_index(a.expert[i])), a.weight[i]};
  });
}

/// The counts of all ranks of the node.
void Planner::gather_tables() {
  std::vector<std::int32_t> mine(rows_to_node_.begin(), rows_to_node_.end());
  mine.insert(mine.end(), entries_to_.begin(), entries_to_.end());
  const std::vector<std::int32_t> all = comm::all_gather<std::int32_t>(node_, mine);
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    BoxTable& table = out_.emplace_back(ranks_on(here_), ranks_on(b));
    for (i64 s = 0; s < table.here; ++s) {
      const std::int32_t* counts = all.data() + s * static_cast<i64>(mine.size());
      table.rows(s) = counts[b];
      for (i64 d = 0; d < table.there; ++d) table.entries(s, d) = counts[layout_.nodes() + layout_.ranks_of(b)[static_cast<std::size_t>(d)]];
    }
  }
}

/// Into the memory of the node, then one message to each other node. Its length says how many tickets it brings.
void Planner::exchange_tickets() {
  i64 bytes = 0;
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    box_out_.push_back(bytes);
    bytes += aligned(out_[b].bytes() + out_[b].amount().entries * k_ticket);
  }
  room_.tickets_out.reserve(bytes);
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    if (place_ == 0) std::ranges::copy(out_[b].counts, room_.tickets_out.as<std::int32_t>(box_out_[b]));
    Ticket* to = room_.tickets_out.as<Ticket>(box_out_[b] + out_[b].bytes()) + out_[b].entries_before(place_, 0);
    for (const i64 d : layout_.ranks_of(b)) to = std::copy_n(tickets_.begin() + first_ticket_[d], entries_to_[d], to);
  }
  room_.tickets_out.meet();

  comm::Messages messages(group_);
  std::vector<i64> sizes(static_cast<std::size_t>(layout_.nodes()), 0);
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    const i64 size = out_[b].bytes() + out_[b].amount().entries * k_ticket;
    if (speaks_for(b)) messages.send(layout_.port(b, here_), k_tickets, {comm::part(room_.tickets_out.as<char>(box_out_[b]), size)});
  }
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    if (speaks_for(s)) sizes[s] = comm::bytes_coming(group_, layout_.port(s, here_), k_tickets);
  }
  if (layout_.nodes() > 1) comm::all_reduce_sum<i64>(node_, sizes);
  bytes = 0;
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    box_in_.push_back(bytes);
    bytes += aligned(sizes[s]);
  }
  room_.tickets_in.reserve(bytes);
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    if (speaks_for(s)) messages.receive(layout_.port(s, here_), k_tickets, {comm::part(room_.tickets_in.as<char>(box_in_[s]), sizes[s])});
  }
  messages.wait();
  if (layout_.nodes() > 1) room_.tickets_in.meet();
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    in_.push_back(far(s) ? BoxTable(ranks_on(s), ranks_on(here_)) : out_[here_]);
    if (far(s)) std::copy_n(room_.tickets_in.as<std::int32_t>(box_in_[s]), in_[s].counts.size(), in_[s].counts.begin());
  }
}

void Planner::number_boxes() {
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    row_in_.push_back(std::exchange(extra_.box_rows, extra_.box_rows + in_[s].amount().rows));
    back_out_.push_back(std::exchange(extra_.weights, extra_.weights + in_[s].amount().entries));
  }
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    const Amount away = far(b) ? out_[b].amount() : Amount{};
    row_out_.push_back(std::exchange(extra_.box_rows, extra_.box_rows + away.rows));
    back_in_.push_back(std::exchange(extra_.weights, extra_.weights + away.entries));
    if (rows_to_node_[b] == 0) continue;
    extra_.put.push_back({(far(b) ? row_out_[b] : row_in_[b]) + out_[b].rows_before(place_), first_token_[b], rows_to_node_[b]});
  }
}

/// Reads the tickets for this rank, by rank of origin, so that rows of an expert keep the global order of tokens.
void Planner::plan_arrivals(i64 local_experts) {
  const std::size_t ranks = static_cast<std::size_t>(layout_.ranks());
  plan_.recv_rows.assign(ranks, 0);
  plan_.recv_entries.assign(ranks, 0);
  i64 arrivals_in_all = 0;
  for (i64 s = 0; s < layout_.ranks(); ++s) arrivals_in_all += plan_.recv_entries[s] = in_[layout_.node_of(s)].entries(layout_.place(s), place_);
  Arrivals arrivals(static_cast<std::size_t>(arrivals_in_all));
  std::size_t at = 0;
  for (i64 s = 0; s < layout_.ranks(); ++s) {
    const i64 node = layout_.node_of(s), before = in_[node].entries_before(layout_.place(s), place_), row = row_in_[node] + in_[node].rows_before(layout_.place(s));
    const i64 before_it = static_cast<i64>(arrived_.size());
    const Ticket* ticket = far(node) ? room_.tickets_in.as<Ticket>(box_in_[node] + in_[node].bytes()) : room_.tickets_out.as<Ticket>(box_out_[node] + out_[node].bytes());
    std::int32_t last = -1;
    for (i64 i = 0; i < plan_.recv_entries[s]; ++i, ++at) {
      const Ticket& t = ticket[before + i];
      if (std::exchange(last, t.row) != t.row) arrived_.push_back(static_cast<std::int32_t>(row + t.row));
      arrivals.set(at, arrived_.back(), t.local_expert, t.weight);
      entry_place_.push_back(back_out_[node] + before + i);
    }
    plan_.recv_rows[s] = static_cast<i64>(arrived_.size()) - before_it;
  }
  order_by_expert(plan_, arrivals, local_experts);
}

/// Where results and gradients of weights are put at the owner and found at home, if each goes by itself.
void Planner::plan_returns(const routing::Assignment& a, const ExpertMap& map) {
  for (const std::int32_t arrival : plan_.row_entry) extra_.weight_place.push_back(static_cast<std::int32_t>(entry_place_[static_cast<std::size_t>(arrival)]));
  std::vector<i64> first(static_cast<std::size_t>(layout_.ranks()));
  for (i64 d = 0; d < layout_.ranks(); ++d) {
    const i64 node = layout_.node_of(d);
    first[d] = (far(node) ? back_in_[node] : back_out_[node]) + out_[node].entries_before(place_, layout_.place(d));
  }
  plan_.return_slot.assign(a.expert.size(), -1);
  for (std::size_t i = 0; i < a.expert.size(); ++i) {
    if (a.kept[i]) plan_.return_slot[i] = first[map.owner(a.expert[i])] + ticket_of_[i];
  }
}

/// combine = home: a place for each single result.
void Planner::number_results() {
  extra_.landing = extra_.weight_place;
  extra_.result_rows = extra_.weights;
  for (std::size_t x = 0; x < in_.size(); ++x) {
    results_out_.push_back({back_out_[x], in_[x].amount().entries});
    results_in_.push_back({back_in_[x], out_[x].amount().entries});
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
    results_in_.push_back(take(far(x) ? out_[x].amount().rows : 0));
    results_out_.push_back(take(far(x) ? in_[x].amount().rows : 0));
  }
}

/// Tells the ranks of the node, and our experts, which of our sums belong to the rows of boxes that arrived.
void Planner::share_partials() {
  boxed_ = row_in_.back() + in_.back().amount().rows;
  room_.partials.reserve(node_.size() * boxed_ * static_cast<i64>(sizeof(std::int32_t)));
  std::int32_t* mine = room_.partials.as<std::int32_t>() + place_ * boxed_;
  std::fill_n(mine, boxed_, -1);
  std::int32_t sum = static_cast<std::int32_t>(extra_.partial.begin);
  for (const std::int32_t row : arrived_) mine[row] = sum++;
  for (const std::int32_t row : plan_.at_experts.token) extra_.landing.push_back(mine[row]);
  room_.partials.meet();
}

/// The row in which a rank of the node added up what belongs to a row of a box; -1 if it had nothing to do with it.
std::int32_t Planner::partial_of(i64 rank, i64 boxed_row) const { return room_.partials.as<std::int32_t>()[rank * boxed_ + boxed_row]; }

/// This rank's share of the sums that go away.
void Planner::plan_sums_on_node() {
  for (i64 s = 0; s < layout_.nodes(); ++s) {
    const Range mine = far(s) ? share(in_[s].amount().rows, node_.size(), place_) : Range{};
    for (i64 j = mine.begin; j < mine.end(); ++j) {
      for (i64 d = 0; d < node_.size(); ++d) {
        const std::int32_t from = partial_of(d, row_in_[s] + j);
        if (from >= 0) extra_.sums.push_back({static_cast<std::int32_t>(results_out_[s].begin + j), from});
      }
    }
  }
}

/// At home nodes are added in their order; the ranks of this node count one by one.
void Planner::plan_sums_at_home(i64 tokens) {
  std::vector<HomeEntry> home;
  for (i64 b = 0; b < layout_.nodes(); ++b) {
    const std::int32_t* token = extra_.put_token.data() + first_token_[b];
    const i64 before = out_[b].rows_before(place_), rows = rows_to_node_[b];
    for (i64 j = 0; far(b) && j < rows; ++j) home.push_back({token[j], 0, static_cast<std::int32_t>(results_in_[b].begin + before + j)});
    for (i64 d = 0; !far(b) && d < node_.size(); ++d) {
      for (i64 j = 0; j < rows; ++j) {
        const std::int32_t from = partial_of(d, row_in_[b] + before + j);
        if (from >= 0) home.push_back({token[j], 0, from});
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
  for (i64 x = 0; x < layout_.nodes(); ++x) {
    if (!speaks_for(x)) continue;
    const Amount away = out_[x].amount(combine_), coming = in_[x].amount(combine_);
    const i64 peer = layout_.port(x, here_);
    extra_.ports.push_back({peer, {row_out_[x], away.rows}, {row_in_[x], coming.rows}, results_out_[x], results_in_[x], {back_out_[x], coming.entries}, {back_in_[x], away.entries}});
    count(peer, traffic_between_nodes(away, coming, ranks_on(here_), ranks_on(x), width, combine_));
  }
  for (const i64 r : layout_.ranks_of(here_)) {
    if (r == me_) continue;
    count(r, traffic_between_ranks(Amount::whole(rows_to_[r], entries_to_[r], combine_), Amount::whole(plan_.recv_rows[r], plan_.recv_entries[r], combine_), width,
                                   combine_, Way::shared_memory));
  }
}

ExchangePlan Planner::plan(const routing::Assignment& a, const ExpertMap& map, i64 width) {
  write_tickets(a, map);
  gather_tables();
  exchange_tickets();
  number_boxes();
  plan_arrivals(static_cast<i64>(map.owned_by(me_).size()));
  plan_returns(a, map);
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
  return Planner(group_, node_, layout_, room_, combine_).plan(a, map, width);
}

}  // namespace pleiad::exchange
