#include "pleiad/exchange/all_to_all.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/exchange/local.hpp"

namespace pleiad::exchange {

namespace {

/// Travels beside the rows, as bytes between ranks of one program: which experts want a token, with which weight.
struct Ticket {
  std::int32_t row = 0;           // number of the token's row among those sent to this rank
  std::int32_t local_expert = 0;  // at the owner
  real weight = 0;
};

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
  const std::vector<i64> arriving = comm::all_to_all_counts(group_, counts, 2);
  for (std::size_t r = 0; r < ranks; ++r) {
    plan.recv_rows.push_back(arriving[2 * r]);
    plan.recv_entries.push_back(arriving[2 * r + 1]);
  }
  i64 balance[2] = {sum(plan.send_rows) - plan.arrived(), sum(plan.send_entries) - sum(plan.recv_entries)};
  comm::all_reduce_sum<i64>(group_, balance);
  PLEIAD_CHECK(balance[0] == 0 && balance[1] == 0, "exchange lost {} rows and {} assignments", balance[0], balance[1]);

  std::vector<Ticket> arrived(static_cast<std::size_t>(sum(plan.recv_entries)));
  comm::all_to_all_rows<char>(group_, reinterpret_cast<const char*>(tickets.data()), plan.send_entries,
                              reinterpret_cast<char*>(arrived.data()), plan.recv_entries, sizeof(Ticket));
  std::vector<std::int32_t> expert;
  std::vector<real> weight;
  expert.reserve(arrived.size());
  weight.reserve(arrived.size());
  plan.entry_token.reserve(arrived.size());
  i64 first_row = 0;
  std::size_t at = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    for (i64 i = 0; i < plan.recv_entries[r]; ++i, ++at) {
      plan.entry_token.push_back(first_row + arrived[at].row);
      expert.push_back(arrived[at].local_expert);
      weight.push_back(arrived[at].weight);
    }
    first_row += plan.recv_rows[r];
  }
  order_by_expert(plan, expert, weight, static_cast<i64>(map.owned_by(group_.rank()).size()));
  for (const Traffic& t : traffic_to(plan.send_rows, plan.send_entries, plan.recv_rows, plan.recv_entries, group_.rank(), width, combine_)) {
    plan.traffic += t;
    if (group_.size() <= k_most_paired_ranks) plan.bytes_to.push_back(t.bytes());
  }
  return plan;
}

void AllToAllExchanger::dispatch(ConstMatrixView x, const ExchangePlan& plan, Matrix& rows) const {
  Matrix packed, arrived;
  packed.resize_uninitialised(static_cast<i64>(plan.send_token.size()), x.cols);
  for (i64 i = 0; i < packed.rows(); ++i) std::copy_n(x.row(plan.send_token[i]), x.cols, packed.row(i));
  arrived.resize_uninitialised(plan.arrived(), x.cols);
  comm::all_to_all_rows<real>(group_, packed.data(), plan.send_rows, arrived.data(), plan.recv_rows, x.cols);
  expand_rows(arrived, plan, rows);
}

/// Sends results home: every assignment's row (home), or each token's sum of `weight` times its rows (owner; weights 1 if empty).
void AllToAllExchanger::return_rows(ConstMatrixView rows, std::span<const real> weight, const ExchangePlan& plan, Matrix& returned) const {
  Matrix packed;
  if (combine_ == Combine::home) {
    packed.resize_uninitialised(plan.rows(), rows.cols);
    for (i64 i = 0; i < plan.rows(); ++i) std::copy_n(rows.row(plan.entry_row[i]), rows.cols, packed.row(i));
    returned.resize_uninitialised(sum(plan.send_entries), rows.cols);
    comm::all_to_all_rows<real>(group_, packed.data(), plan.recv_entries, returned.data(), plan.send_entries, rows.cols);
    return;
  }
  packed.resize(plan.arrived(), rows.cols);
  for (std::size_t i = 0; i < plan.entry_row.size(); ++i) {
    const i64 r = plan.entry_row[i];
    const real w = weight.empty() ? 1 : weight[r];
    real* out = packed.row(plan.entry_token[i]);
    for (i64 j = 0; j < rows.cols; ++j) out[j] += w * rows(r, j);
  }
  returned.resize_uninitialised(sum(plan.send_rows), rows.cols);
  comm::all_to_all_rows<real>(group_, packed.data(), plan.recv_rows, returned.data(), plan.send_rows, rows.cols);
}

void AllToAllExchanger::combine(ConstMatrixView out, const routing::Assignment& a, const ExchangePlan& plan, MatrixView y) const {
  Matrix returned;
  return_rows(out, plan.row_weight, plan, returned);
  if (combine_ == Combine::home) {
    sum_at_home(returned, a, plan, y);
    return;
  }
  for (i64 t = 0; t < y.rows; ++t) std::fill_n(y.row(t), y.cols, real{0});
  for (i64 i = 0; i < returned.rows(); ++i) {
    real* to = y.row(plan.send_token[i]);
    for (i64 j = 0; j < y.cols; ++j) to[j] += returned(i, j);
  }
}

void AllToAllExchanger::dispatch_adjoint(ConstMatrixView d_rows, std::span<const real> d_row_weight, const routing::Assignment& a,
                                         const ExchangePlan& plan, MatrixView d_x, std::span<real> d_weight) const {
  Matrix returned;
  return_rows(d_rows, {}, plan, returned);
  if (combine_ == Combine::home) {
    add_at_home(returned, a, plan, d_x);
  } else {
    for (i64 i = 0; i < returned.rows(); ++i) {
      real* to = d_x.row(plan.send_token[i]);
      for (i64 j = 0; j < d_x.cols; ++j) to[j] += returned(i, j);
    }
  }
  std::vector<real> there(d_row_weight.size()), back(static_cast<std::size_t>(sum(plan.send_entries)));
  for (std::size_t i = 0; i < there.size(); ++i) there[i] = d_row_weight[plan.entry_row[i]];
  comm::all_to_all_rows<real>(group_, there.data(), plan.recv_entries, back.data(), plan.send_entries, 1);
  for (std::size_t i = 0; i < d_weight.size(); ++i) {
    d_weight[i] = plan.return_slot[i] < 0 ? 0 : back[plan.return_slot[i]];
  }
}

}  // namespace pleiad::exchange
