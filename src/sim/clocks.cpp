#include "pleiad/sim/clocks.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad::sim {

namespace {

std::size_t at(i64 rank, Phase phase) { return static_cast<std::size_t>(rank * k_phase_count + static_cast<int>(phase)); }

/// When those who begin together and share a processor have done so much work: as long as m of them are at it, each goes at speed / m.
class Shared {
 public:
  /// work: of each of them, seconds.
  Shared(std::vector<double> work, double speed) : work_(std::move(work)), speed_(speed) {
    std::ranges::sort(work_);
    for (std::size_t i = 0; i < work_.size(); ++i) done_.push_back(i == 0 ? work_[0] * slowness(0) : done_[i - 1] + (work_[i] - work_[i - 1]) * slowness(i));
  }
  double after(double work) const {
    const std::size_t i = std::min(static_cast<std::size_t>(std::ranges::lower_bound(work_, work) - work_.begin()), work_.size() - 1);
    return done_[i] - (work_[i] - work) * slowness(i);
  }

 private:
  /// Of those that are left when i are done.
  double slowness(std::size_t i) const { return static_cast<double>(work_.size() - i) / speed_; }

  std::vector<double> work_, done_;  // ascending, and when it is done
  double speed_;
};

}  // namespace

Clocks::Clocks(i64 ranks, i64 groups, const Processors& node)
    : group_size_(ranks / groups),
      node_(node),
      now_(static_cast<std::size_t>(ranks)),
      spent_(static_cast<std::size_t>(ranks * k_phase_count)),
      met_(spent_.size()),
      waited_(now_.size()),
      path_by_rank_(now_.size()),
      paths_(static_cast<std::size_t>(groups)) {
  PLEIAD_CHECK(ranks % groups == 0, "{} ranks in {} groups", ranks, groups);
  if (node.ranks > node.cores) computed_.resize(now_.size());
}

void Clocks::spend(i64 rank, Phase phase, double seconds) {
  now_[static_cast<std::size_t>(rank)] += seconds;
  spent_[at(rank, phase)] += seconds;
}

void Clocks::compute(i64 rank, Phase phase, double seconds) {
  if (computed_.empty()) spend(rank, phase, seconds);
  else computed_[static_cast<std::size_t>(rank)].push_back({phase, seconds});
}

void Clocks::share_processor(const std::vector<i64>& together, double speed) {
  std::vector<double> work;
  for (const i64 r : together) {
    work.push_back(0);
    for (const Piece& p : computed_[static_cast<std::size_t>(r)]) work.back() += p.seconds;
  }
  const Shared shared(std::move(work), speed);
  for (const i64 r : together) {
    double done = 0, now = 0;
    for (const Piece& p : computed_[static_cast<std::size_t>(r)]) {
      const double after = shared.after(done += p.seconds);
      spend(r, p.phase, after - now);
      now = after;
    }
    computed_[static_cast<std::size_t>(r)].clear();
  }
}

// Ranks that meet began together, when they met before. Of a node that they share with other groups they have their part of the processors. Those that wait ask again and again whether they may go on: for the
// operating system all are busy alike, and each processor has as many of them as any other, whoever has something to do. Which, is drawn anew whenever they meet.
void Clocks::share_processors(i64 begin, i64 end) {
  for (i64 first = begin; first < end && !computed_.empty();) {
    const i64 node = first / node_.ranks, node_end = std::min((node + 1) * node_.ranks, ranks()), last = std::min(node_end, end);
    const double cores = static_cast<double>(node_.cores) * static_cast<double>(last - first) / static_cast<double>(node_end - node * node_.ranks);
    const std::size_t processors = std::max<std::size_t>(1, static_cast<std::size_t>(cores));
    std::vector<i64> order(static_cast<std::size_t>(last - first));
    std::iota(order.begin(), order.end(), first);
    const Stream draw(0, Purpose::simulation, 0, static_cast<std::uint64_t>(meetings_++));
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[static_cast<std::size_t>(draw.below(i, i))]);
    for (std::size_t p = 0; p < processors; ++p) {
      std::vector<i64> together;
      for (std::size_t i = p; i < order.size(); i += processors) together.push_back(order[i]);
      share_processor(together, std::min(1.0, cores / static_cast<double>(processors)));
    }
    first = last;
  }
}

i64 Clocks::last_of(i64 begin, i64 end) const { return std::max_element(now_.begin() + begin, now_.begin() + end) - now_.begin(); }

double Clocks::last() {
  share_processors(0, ranks());
  return *std::ranges::max_element(now_);
}

void Clocks::extend_path(i64 group, i64 rank) {
  for (int p = 0; p < k_phase_count; ++p) {
    const std::size_t i = at(rank, static_cast<Phase>(p));
    paths_[static_cast<std::size_t>(group)][static_cast<std::size_t>(p)] += spent_[i] - met_[i];
    path_by_rank_[static_cast<std::size_t>(rank)] += spent_[i] - met_[i];
  }
}

void Clocks::wait(i64 begin, i64 end, Phase phase, double seconds) {
  const double until = now_[static_cast<std::size_t>(last_of(begin, end))];
  for (i64 r = begin; r < end; ++r) {
    const double wait = until - now_[static_cast<std::size_t>(r)];
    waited_[static_cast<std::size_t>(r)] += wait;
    spend(r, phase, wait + seconds);
  }
  std::copy(spent_.begin() + begin * k_phase_count, spent_.begin() + end * k_phase_count, met_.begin() + begin * k_phase_count);
}

void Clocks::meet_group(i64 group, Phase phase, double seconds) {
  const i64 begin = group * group_size_, end = begin + group_size_;
  share_processors(begin, end);
  extend_path(group, last_of(begin, end));
  paths_[static_cast<std::size_t>(group)][static_cast<std::size_t>(phase)] += seconds;
  wait(begin, end, phase, seconds);
}

void Clocks::meet(Phase phase, double seconds) {
  share_processors(0, ranks());
  const i64 rank = last_of(0, ranks());
  extend_path(rank / group_size_, rank);
  paths_[static_cast<std::size_t>(rank / group_size_)][static_cast<std::size_t>(phase)] += seconds;
  const auto path = paths_[static_cast<std::size_t>(rank / group_size_)];
  std::ranges::fill(paths_, path);
  wait(0, ranks(), phase, seconds);
}

}  // namespace pleiad::sim
