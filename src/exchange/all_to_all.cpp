#include "pleiad/exchange/all_to_all.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/local.hpp"
#include "pleiad/exchange/ticket.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::exchange {

namespace {

enum Tag : int { k_tickets = 1, k_rows, k_results };

std::vector<i64> starts(const std::vector<i64>& counts) {
  std::vector<i64> at(counts.size() + 1, 0);
  std::inclusive_scan(counts.begin(), counts.end(), at.begin() + 1);
  return at;
}

/// The ranks other than this one, each beginning with another so that not all send to the same.
template <class Work>
void for_each_other(const comm::Communicator& group, Work work) {
  for (i64 step = 1; step < group.size(); ++step) work((group.rank() + step) % group.size());
}

/// Who gets which of our tokens: fills what the plan knows at home. Returns the tickets, by rank; those of one rank by token, then in list order.
std::vector<Ticket> write_tickets(ExchangePlan& plan, const routing::Assignment& a, const ExpertMap& map, Reach reach) {
  const std::size_t ranks = static_cast<std::size_t>(map.owners());
  plan.send_rows.assign(ranks, 0);
  plan.send_entries.assign(ranks, 0);
  plan.return_slot.assign(a.expert.size(), -1);
  std::vector<i64> last(ranks, -1);
  const auto for_each_kept = [&](auto work) {
    std::ranges::fill(last, -1);
    for (i64 t = 0; t < a.tokens(); ++t) {
      for (std::size_t i = static_cast<std::size_t>(a.offset[t]); i < static_cast<std::size_t>(a.offset[t + 1]); ++i) {
        if (!a.kept[i]) continue;
        const std::size_t to = static_cast<std::size_t>(map.owner(a.expert[i]));
        work(t, i, to, std::exchange(last[to], t) != t);
      }
    }
  };
  for_each_kept([&](i64, std::size_t, std::size_t to, bool first) {
    plan.send_rows[to] += first;
    ++plan.send_entries[to];
  });
  const bool all = plan.all_to_all_ranks = reach == Reach::all;
  if (all) plan.send_rows.assign(ranks, a.tokens());
  const std::vector<i64> first_row = starts(plan.send_rows);
  std::vector<i64> row = first_row, slot = starts(plan.send_entries);
  plan.send_token.resize(static_cast<std::size_t>(all ? 0 : row.back()));
  std::vector<Ticket> tickets(static_cast<std::size_t>(slot.back()));
  for_each_kept([&](i64 t, std::size_t i, std::size_t to, bool first) {
    if (first && !all) plan.send_token[static_cast<std::size_t>(row[to]++)] = t;
    tickets[static_cast<std::size_t>(slot[to])] = {static_cast<std::int32_t>(all ? t : row[to] - 1 - first_row[to]),
                                                   static_cast<std::int32_t>(map.local_index(a.expert[i])), a.weight[i]};
    plan.return_slot[i] = slot[to]++;
  });
  return tickets;
}

/// Sends tickets to those who need them. A message says by its length how many it brings, and its last ticket how many rows will follow (where not
/// all do), so no counts travel ahead.
std::vector<Ticket> exchange_tickets(const comm::Communicator& group, ExchangePlan& plan, const std::vector<Ticket>& mine, const LaneLayout& lanes, Reach reach) {
  const std::size_t me = static_cast<std::size_t>(group.rank());
  const std::vector<i64> out = starts(plan.send_entries);
  comm::Messages messages(group);
  for_each_other(group, [&](i64 r) { messages.send(r, k_tickets, {comm::part(mine.data() + out[r], plan.send_entries[r])}); });
  plan.recv_entries.assign(plan.send_entries.size(), 0);
  plan.recv_entries[me] = plan.send_entries[me];
  for_each_other(group, [&](i64 r) { plan.recv_entries[r] = comm::bytes_coming(group, r, k_tickets) / static_cast<i64>(sizeof(Ticket)); });
  const std::vector<i64> in = starts(plan.recv_entries);
  std::vector<Ticket> arrived(static_cast<std::size_t>(in.back()));
  for_each_other(group, [&](i64 r) { messages.receive(r, k_tickets, {comm::part(arrived.data() + in[r], plan.recv_entries[r])}); });
  std::copy_n(mine.begin() + out[me], plan.send_entries[me], arrived.begin() + in[me]);
  messages.wait();
  plan.recv_rows.assign(plan.send_rows.size(), 0);
  const i64 first_rank = lanes.rank() - group.rank();  // of the group, among those that share the batch
  for (std::size_t r = 0; r < plan.recv_rows.size(); ++r) {
    if (reach == Reach::all) plan.recv_rows[r] = lanes.sequences_of(static_cast<i64>(r) + first_rank).count * lanes.seq_len();
    else if (plan.recv_entries[r]) plan.recv_rows[r] = arrived[static_cast<std::size_t>(in[r + 1] - 1)].row + 1;
  }
  return arrived;
}

}  // namespace

ExchangePlan AllToAllExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout& lanes, i64 width) const {
  PLEIAD_CHECK(map.owners() == group_.size(), "{} owners for {} ranks", map.owners(), group_.size());
  ExchangePlan plan;
  const std::vector<Ticket> arrived = exchange_tickets(group_, plan, write_tickets(plan, a, map, reach_), lanes, reach_);
  if (combine_ == Combine::home) order_at_home(plan, a);

  Arrivals arrivals(arrived.size());
  const std::vector<i64> first_row = starts(plan.recv_rows), first_entry = starts(plan.recv_entries);
  for (std::size_t r = 0; r + 1 < first_entry.size(); ++r) {
    for (std::size_t i = static_cast<std::size_t>(first_entry[r]); i < static_cast<std::size_t>(first_entry[r + 1]); ++i) {
      arrivals.set(i, static_cast<std::int32_t>(first_row[r] + arrived[i].row), arrived[i].local_expert, arrived[i].weight);
    }
  }
  order_by_expert(plan, arrivals, static_cast<i64>(map.owned_by(group_.rank()).size()));
  if (group_.size() <= k_most_paired_ranks) plan.bytes_to.assign(static_cast<std::size_t>(group_.size()), 0);
  for_each_other(group_, [&](i64 r) {
    const Way way = nodes_.node_of(r) == nodes_.node_of(group_.rank()) ? Way::messages_within : Way::messages_between;
    const Traffic t = traffic_between_ranks({plan.send_rows[r], plan.send_entries[r]}, {plan.recv_rows[r], plan.recv_entries[r]}, width, combine_, way);
    plan.traffic += t;
    if (!plan.bytes_to.empty()) plan.bytes_to[r] = t.bytes();
  });
  return plan;
}

namespace {

/// How one direction of travel ends: forward sums weighted results, backward adds gradients and brings those of the weights.
struct Home {
  MatrixView sum;
  std::span<real> d_weight;  // empty forward
  bool forward;
};

class AllToAllTrip : public RoundTrip {
 public:
  /// Rows leave at once, sends before receives (messages.hpp). What a rank sends to itself is copied once and goes through no message; its results stay where the experts put them.
  AllToAllTrip(const comm::Communicator& group, Combine combine, ConstMatrixView from, const routing::Assignment& a, const ExchangePlan& plan,
               Matrix& arrived, AllToAllExchanger::Room& room, const Home& home)
      : group_(group), by_entry_(combine == Combine::home), a_(a), plan_(plan), arrived_(arrived), room_(room), home_(home), width_(from.cols), messages_(group) {
    const std::vector<i64> out = starts(plan.send_rows), in = starts(plan.recv_rows);
    arrived.resize_uninitialised(in.back(), width_);
    const bool all = plan.all_to_all_ranks, as_they_lie = all && from.contiguous();
    room.packed.resize_uninitialised(as_they_lie ? 0 : out.back(), width_);
    const auto copy_rows_for = [&](i64 r, real* to) {
      for (i64 i = out[r]; i < out[r + 1]; ++i, to += width_) std::copy_n(from.row(all ? i - out[r] : plan.send_token[static_cast<std::size_t>(i)]), width_, to);
    };
    for_each_other(group, [&](i64 r) {
      if (!plan.send_rows[r]) return;
      if (!as_they_lie) copy_rows_for(r, room.packed.row(out[r]));
      messages_.send(r, k_rows, {comm::part(as_they_lie ? from.data : room.packed.row(out[r]), plan.send_rows[r] * width_)});
    });
    for_each_other(group, [&](i64 r) {
      if (plan.recv_rows[r]) messages_.receive(r, k_rows, {comm::part(arrived.row(in[r]), plan.recv_rows[r] * width_)});
    });
    copy_rows_for(group.rank(), arrived.row(in[group.rank()]));
  }

  ConstMatrixView arrive() override {
    messages_.wait();
    return arrived_;
  }

  experts::Landing landing() override {
    if (by_entry_) {
      room_.results.resize_uninitialised(plan_.rows(), width_);
      return {room_.results, plan_.row_entry, false};
    }
    room_.results.resize(plan_.arrived(), width_);
    return {room_.results, plan_.at_experts.token, true};
  }

  void leave(std::span<const real> d_row_weight) override {
    const std::vector<i64>&there = by_entry_ ? plan_.recv_entries : plan_.recv_rows, &here = by_entry_ ? plan_.send_entries : plan_.send_rows;
    const std::vector<i64> out = starts(there), in = starts(here), w_out = starts(plan_.recv_entries), w_in = starts(plan_.send_entries);
    room_.returned.resize_uninitialised(in.back(), width_);
    room_.weights_there.resize(d_row_weight.size());
    room_.weights_back.resize(static_cast<std::size_t>(home_.forward ? 0 : w_in.back()));
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) room_.weights_there[static_cast<std::size_t>(plan_.row_entry[r])] = d_row_weight[r];
    const auto weights = [&](std::vector<real>& all, const std::vector<i64>& at, i64 r) {
      return home_.forward ? comm::Part{} : comm::part(all.data() + at[r], at[r + 1] - at[r]);
    };
    for_each_other(group_, [&](i64 r) {
      if (there[r]) messages_.send(r, k_results, {comm::part(room_.results.row(out[r]), there[r] * width_), weights(room_.weights_there, w_out, r)});
    });
    for_each_other(group_, [&](i64 r) {
      if (here[r]) messages_.receive(r, k_results, {comm::part(room_.returned.row(in[r]), here[r] * width_), weights(room_.weights_back, w_in, r)});
    });
    const i64 me = group_.rank();
    own_ = {in[me], here[me]};
    own_results_ = room_.results.data() + out[me] * width_;
    own_weights_ = {w_in[me], plan_.send_entries[me]};
    own_weights_from_ = w_out[me];
  }

  void finish() override {
    messages_.wait();
    by_entry_ ? sum_by_token() : sum_by_rank();
    for (std::size_t i = 0; i < home_.d_weight.size(); ++i) {
      const i64 slot = plan_.return_slot[i], own = slot - own_weights_.begin;
      if (slot < 0) home_.d_weight[i] = 0;
      else if (own >= 0 && own < own_weights_.count) home_.d_weight[i] = room_.weights_there[static_cast<std::size_t>(own_weights_from_ + own)];
      else home_.d_weight[i] = room_.weights_back[static_cast<std::size_t>(slot)];
    }
  }

 private:
  /// Row `slot` of those that come back, by rank.
  const real* back(i64 slot) const {
    const i64 own = slot - own_.begin;
    return own >= 0 && own < own_.count ? own_results_ + own * width_ : room_.returned.row(slot);
  }

  void sum_by_token() {
    const HomeEntry *e = plan_.home.data(), *end = e + plan_.home.size();
    for (i64 t = 0; t < home_.sum.rows; ++t) {
      real* to = home_.sum.row(t);
      if (home_.forward) std::fill_n(to, width_, real{0});
      for (; e != end && e->token == t; ++e) {
        home_.forward ? ops::vec::axpy(a_.weight[static_cast<std::size_t>(e->entry)], back(e->slot), to, width_) : ops::vec::add(back(e->slot), to, width_);
      }
    }
  }

  void sum_by_rank() {
    if (home_.forward) clear_rows(home_.sum);
    for (std::size_t i = 0; i < plan_.send_token.size(); ++i) ops::vec::add(back(static_cast<i64>(i)), home_.sum.row(plan_.send_token[i]), width_);
    const i64 tokens = home_.sum.rows;
    for (i64 t = 0; plan_.all_to_all_ranks && t < tokens; ++t) {
      for (i64 r = 0; r < group_.size(); ++r) ops::vec::add(back(r * tokens + t), home_.sum.row(t), width_);
    }
  }

  const comm::Communicator& group_;
  bool by_entry_;
  const routing::Assignment& a_;
  const ExchangePlan& plan_;
  Matrix& arrived_;
  AllToAllExchanger::Room& room_;
  Home home_;
  i64 width_;
  comm::Messages messages_;
  Range own_, own_weights_;  // what this rank gave itself, among what comes back
  const real* own_results_ = nullptr;
  i64 own_weights_from_ = 0;
};

}  // namespace

std::unique_ptr<RoundTrip> AllToAllExchanger::start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Matrix& kept,
                                                            MatrixView y) const {
  return std::make_unique<AllToAllTrip>(group_, combine_, x, a, plan, kept, room_, Home{y, {}, true});
}

std::unique_ptr<RoundTrip> AllToAllExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan,
                                                             MatrixView d_x, std::span<real> d_weight) const {
  return std::make_unique<AllToAllTrip>(group_, combine_, d_y, a, plan, room_.arrived, room_, Home{d_x, d_weight, false});
}

}  // namespace pleiad::exchange
