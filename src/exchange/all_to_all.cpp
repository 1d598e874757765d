#include "pleiad/exchange/all_to_all.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/stable_order.hpp"
#include "pleiad/exchange/local.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::exchange {

namespace {

/// Travels beside the rows, as bytes between ranks of one program: which experts want a token, with which weight.
struct Ticket {
  std::int32_t row = 0;           // number of the token's row among those sent to this rank
  std::int32_t local_expert = 0;  // at the owner
  real weight = 0;
};

/// The order in which results are summed: by expert, then token, as on one rank.
void order_at_home(ExchangePlan& plan, const routing::Assignment& a) {
  std::vector<HomeEntry> kept;
  std::vector<std::int32_t> expert, order;
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      if (!a.kept[i]) continue;
      kept.push_back({static_cast<std::int32_t>(t), static_cast<std::int32_t>(i), static_cast<std::int32_t>(plan.return_slot[i])});
      expert.push_back(a.expert[i]);
    }
  }
  stable_order(expert, a.experts, order);
  for (const std::int32_t i : order) plan.home.push_back(kept[static_cast<std::size_t>(i)]);
}

i64 sum(std::span<const i64> v) { return std::accumulate(v.begin(), v.end(), i64{0}); }

}  // namespace

std::vector<Traffic> traffic_to(std::span<const i64> send_rows, std::span<const i64> send_entries, std::span<const i64> recv_rows,
                                std::span<const i64> recv_entries, i64 me, i64 width, Combine combine) {
  const i64 row_bytes = width * static_cast<i64>(sizeof(real));
  std::vector<Traffic> all(send_rows.size());
  for (std::size_t r = 0; r < send_rows.size(); ++r) {
    if (static_cast<i64>(r) == me) continue;
    Traffic& t = all[r];
    // Counts always; then tickets and rows there, and rows back from what arrived from rank r. Backward: rows there, rows back and
    // one weight gradient per assignment back.
    t.forward_bytes += 2 * static_cast<i64>(sizeof(i64));
    t.forward_messages += 1;
    if (send_rows[r]) {
      t.forward_bytes += send_entries[r] * static_cast<i64>(sizeof(Ticket)) + send_rows[r] * row_bytes;
      t.forward_messages += 2;
      t.backward_bytes += send_rows[r] * row_bytes;
      t.backward_messages += 1;
    }
    const i64 back = combine == Combine::home ? recv_entries[r] : recv_rows[r];
    if (back) {
      t.forward_bytes += back * row_bytes;
      t.forward_messages += 1;
      t.backward_bytes += back * row_bytes + recv_entries[r] * static_cast<i64>(sizeof(real));
      t.backward_messages += 2;
    }
  }
  return all;
}

ExchangePlan AllToAllExchanger::make_plan(const routing::Assignment& a, const ExpertMap& map, const LaneLayout&, i64 width) const {
  const std::size_t ranks = static_cast<std::size_t>(group_.size());
  PLEIAD_CHECK(map.owners() == group_.size(), "{} owners for {} ranks", map.owners(), ranks);
  ExchangePlan plan;
  plan.send_rows.assign(ranks, 0);
  plan.send_entries.assign(ranks, 0);
  plan.return_slot.assign(a.expert.size(), -1);

  // Pass over tokens in order: each rank gets its tokens in order, each token's assignments in list order.
  std::vector<std::vector<i64>> token_for(ranks), entry_for(ranks);
  std::vector<std::vector<Ticket>> ticket_for(ranks);
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const std::size_t at = static_cast<std::size_t>(i);
      if (!a.kept[at]) continue;
      const std::size_t to = static_cast<std::size_t>(map.owner(a.expert[at]));
      if (token_for[to].empty() || token_for[to].back() != t) token_for[to].push_back(t);
      ticket_for[to].push_back({static_cast<std::int32_t>(token_for[to].size() - 1),
                                static_cast<std::int32_t>(map.local_index(a.expert[at])), a.weight[at]});
      entry_for[to].push_back(i);
    }
  }
  std::vector<i64> counts;
  std::vector<Ticket> tickets;
  i64 slot = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    plan.send_rows[r] = static_cast<i64>(token_for[r].size());
    plan.send_entries[r] = static_cast<i64>(entry_for[r].size());
    counts.insert(counts.end(), {plan.send_rows[r], plan.send_entries[r]});
    plan.send_token.insert(plan.send_token.end(), token_for[r].begin(), token_for[r].end());
    tickets.insert(tickets.end(), ticket_for[r].begin(), ticket_for[r].end());
    for (const i64 i : entry_for[r]) plan.return_slot[i] = slot++;
  }
  if (combine_ == Combine::home) order_at_home(plan, a);
  const std::vector<i64> arriving = comm::all_to_all_counts(group_, counts, 2);
  for (std::size_t r = 0; r < ranks; ++r) {
    plan.recv_rows.push_back(arriving[2 * r]);
    plan.recv_entries.push_back(arriving[2 * r + 1]);
  }

  std::vector<Ticket> arrived(static_cast<std::size_t>(sum(plan.recv_entries)));
  comm::all_to_all_rows<char>(group_, reinterpret_cast<const char*>(tickets.data()), plan.send_entries,
                              reinterpret_cast<char*>(arrived.data()), plan.recv_entries, sizeof(Ticket));
  Arrivals arrivals;
  i64 first_row = 0;
  std::size_t at = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    for (i64 i = 0; i < plan.recv_entries[r]; ++i, ++at) {
      arrivals.token.push_back(static_cast<std::int32_t>(first_row + arrived[at].row));
      arrivals.expert.push_back(arrived[at].local_expert);
      arrivals.weight.push_back(arrived[at].weight);
    }
    first_row += plan.recv_rows[r];
  }
  order_by_expert(plan, arrivals, static_cast<i64>(map.owned_by(group_.rank()).size()));
  for (const Traffic& t : traffic_to(plan.send_rows, plan.send_entries, plan.recv_rows, plan.recv_entries, group_.rank(), width, combine_)) {
    plan.traffic += t;
    if (group_.size() <= k_most_paired_ranks) plan.bytes_to.push_back(t.bytes());
  }
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
  /// Rows leave at once.
  AllToAllTrip(const comm::Communicator& group, Combine combine, ConstMatrixView from, const routing::Assignment& a, const ExchangePlan& plan,
               Matrix& arrived, AllToAllExchanger::Room& room, const Home& home)
      : group_(group), combine_(combine), a_(a), plan_(plan), arrived_(arrived), room_(room), home_(home), width_(from.cols) {
    room.packed.resize_uninitialised(static_cast<i64>(plan.send_token.size()), width_);
    for (i64 i = 0; i < room.packed.rows(); ++i) std::copy_n(from.row(plan.send_token[i]), width_, room.packed.row(i));
    arrived.resize_uninitialised(plan.arrived(), width_);
    comm::all_to_all_rows<real>(group, room.packed.data(), plan.send_rows, arrived.data(), plan.recv_rows, width_);
  }

  ConstMatrixView arrive() override { return arrived_; }

  experts::Landing landing() override {
    if (combine_ == Combine::home) {
      room_.results.resize_uninitialised(plan_.rows(), width_);
      return {room_.results, plan_.row_entry, false};
    }
    room_.results.resize(plan_.arrived(), width_);
    return {room_.results, plan_.at_experts.token, true};
  }

  void leave(std::span<const real> d_row_weight) override {
    const bool by_entry = combine_ == Combine::home;
    const std::vector<i64>&there = by_entry ? plan_.recv_entries : plan_.recv_rows, &here = by_entry ? plan_.send_entries : plan_.send_rows;
    room_.returned.resize_uninitialised(sum(here), width_);
    comm::all_to_all_rows<real>(group_, room_.results.data(), there, room_.returned.data(), here, width_);
    if (home_.forward) return;
    room_.weights_there.resize(d_row_weight.size());
    room_.weights_back.resize(static_cast<std::size_t>(sum(plan_.send_entries)));
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) room_.weights_there[static_cast<std::size_t>(plan_.row_entry[r])] = d_row_weight[r];
    comm::all_to_all_rows<real>(group_, room_.weights_there.data(), plan_.recv_entries, room_.weights_back.data(), plan_.send_entries, 1);
  }

  void finish() override {
    if (combine_ == Combine::home) {
      for (const HomeEntry& e : plan_.home) {
        const real* row = room_.returned.row(e.slot);
        real* to = home_.sum.row(e.token);
        home_.forward ? ops::vec::axpy(a_.weight[static_cast<std::size_t>(e.entry)], row, to, width_) : ops::vec::add(row, to, width_);
      }
    } else {
      for (i64 i = 0; i < room_.returned.rows(); ++i) ops::vec::add(room_.returned.row(i), home_.sum.row(plan_.send_token[i]), width_);
    }
    for (std::size_t i = 0; i < home_.d_weight.size(); ++i) {
      home_.d_weight[i] = plan_.return_slot[i] < 0 ? 0 : room_.weights_back[static_cast<std::size_t>(plan_.return_slot[i])];
    }
  }

 private:
  const comm::Communicator& group_;
  Combine combine_;
  const routing::Assignment& a_;
  const ExchangePlan& plan_;
  Matrix& arrived_;
  AllToAllExchanger::Room& room_;
  Home home_;
  i64 width_;
};

}  // namespace

std::unique_ptr<RoundTrip> AllToAllExchanger::start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Matrix& kept,
                                                            MatrixView y) const {
  clear_rows(y);
  return std::make_unique<AllToAllTrip>(group_, combine_, x, a, plan, kept, room_, Home{y, {}, true});
}

std::unique_ptr<RoundTrip> AllToAllExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan,
                                                             MatrixView d_x, std::span<real> d_weight) const {
  return std::make_unique<AllToAllTrip>(group_, combine_, d_y, a, plan, room_.arrived, room_, Home{d_x, d_weight, false});
}

}  // namespace pleiad::exchange
