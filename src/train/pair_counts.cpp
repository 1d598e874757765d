#include "pleiad/train/pair_counts.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::train {

namespace {

constexpr std::size_t k_most_pending = std::size_t{1} << 20;

/// sum of n ln n over counts that are spread over the ranks, and how many are not zero. Equal counts are added up as whole numbers
/// first, so the order of the ranks does not show.
struct CountSum {
  double n_log_n = 0;
  i64 some = 0;
};
CountSum sum_over_ranks(const comm::Communicator& world, const std::vector<i64>& counts) {
  std::map<i64, i64> times;
  for (const i64 n : counts) ++times[n];
  std::vector<i64> mine;
  for (const auto& [n, often] : times) mine.insert(mine.end(), {n, often});
  const std::vector<i64> all = comm::all_gather_v<i64>(world, mine);
  times.clear();
  for (std::size_t i = 0; i < all.size(); i += 2) times[all[i]] += all[i + 1];
  CountSum sum;
  for (const auto& [n, often] : times) {
    if (n == 0) continue;
    sum.n_log_n += static_cast<double>(often) * static_cast<double>(n) * std::log(static_cast<double>(n));
    sum.some += often;
  }
  return sum;
}

}  // namespace

void PairCounts::add(i64 expert, i64 label) {
  pending_.push_back(expert * labels_ + label);
  if (pending_.size() >= std::max(k_most_pending, pairs_.size())) settle();
}

void PairCounts::settle() {
  std::ranges::sort(pending_);
  std::vector<Pair> merged;
  merged.reserve(pairs_.size());
  std::size_t old = 0;
  for (std::size_t i = 0, end = 0; i < pending_.size(); i = end) {
    while (end < pending_.size() && pending_[end] == pending_[i]) ++end;
    while (old < pairs_.size() && pairs_[old].key < pending_[i]) merged.push_back(pairs_[old++]);
    merged.push_back({pending_[i], static_cast<i64>(end - i)});
    if (old < pairs_.size() && pairs_[old].key == pending_[i]) merged.back().count += pairs_[old++].count;
  }
  merged.insert(merged.end(), pairs_.begin() + static_cast<std::ptrdiff_t>(old), pairs_.end());
  pairs_ = std::move(merged);
  pending_.clear();
}

double PairCounts::information(const comm::Communicator& world) {
  settle();
  // All pairs of an expert meet on rank e mod P.
  std::vector<std::vector<i64>> parts(static_cast<std::size_t>(world.size()));
  std::vector<i64> label_count(static_cast<std::size_t>(labels_), 0), send, send_rows;
  for (const Pair& p : pairs_) {
    auto& part = parts[static_cast<std::size_t>(p.key / labels_ % world.size())];
    part.insert(part.end(), {p.key, p.count});
    label_count[p.key % labels_] += p.count;
  }
  for (const auto& part : parts) {
    send_rows.push_back(static_cast<i64>(part.size()) / 2);
    send.insert(send.end(), part.begin(), part.end());
  }
  const std::vector<i64> recv_rows = comm::all_to_all_counts(world, send_rows);
  std::vector<Pair> met(static_cast<std::size_t>(std::accumulate(recv_rows.begin(), recv_rows.end(), i64{0})));
  comm::all_to_all_rows<char>(world, reinterpret_cast<const char*>(send.data()), send_rows, reinterpret_cast<char*>(met.data()), recv_rows, sizeof(Pair));
  std::ranges::sort(met, {}, &Pair::key);

  std::vector<i64> pair_count, expert_count;
  for (std::size_t i = 0; i < met.size(); ++i) {
    const bool same_expert = i > 0 && met[i].key / labels_ == met[i - 1].key / labels_;
    if (!same_expert) expert_count.push_back(0);
    expert_count.back() += met[i].count;
    if (i == 0 || met[i].key != met[i - 1].key) pair_count.push_back(0);
    pair_count.back() += met[i].count;
  }
  comm::all_reduce_sum<i64>(world, label_count);
  const double total = static_cast<double>(std::accumulate(label_count.begin(), label_count.end(), i64{0}));
  if (!world.root()) label_count.clear();  // every rank has them all
  const CountSum pairs = sum_over_ranks(world, pair_count), experts = sum_over_ranks(world, expert_count), labels = sum_over_ranks(world, label_count);
  if (labels.some < 2 || experts.some < 2) return 0;
  const double log_total = std::log(total);
  const double entropy = log_total - labels.n_log_n / total;
  const double information = log_total + (pairs.n_log_n - experts.n_log_n - labels.n_log_n) / total;
  return std::clamp(information / entropy, 0.0, 1.0);
}

std::vector<i64> PairCounts::table(const comm::Communicator& world, i64 experts) {
  settle();
  std::vector<i64> dense(static_cast<std::size_t>(labels_ * experts), 0);
  for (const Pair& p : pairs_) dense[p.key % labels_ * experts + p.key / labels_] = p.count;
  comm::all_reduce_sum<i64>(world, dense);
  return dense;
}

}  // namespace pleiad::train
