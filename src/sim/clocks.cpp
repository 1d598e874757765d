#include "pleiad/sim/clocks.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {

namespace {

std::size_t at(i64 rank, Phase phase) { return static_cast<std::size_t>(rank * k_phase_count + static_cast<int>(phase)); }

}  // namespace

Clocks::Clocks(i64 ranks, i64 groups)
    : group_size_(ranks / groups),
      now_(static_cast<std::size_t>(ranks)),
      spent_(static_cast<std::size_t>(ranks * k_phase_count)),
      met_(spent_.size()),
      waited_(now_.size()),
      path_by_rank_(now_.size()),
      paths_(static_cast<std::size_t>(groups)) {
  PLEIAD_CHECK(ranks % groups == 0, "{} ranks in {} groups", ranks, groups);
}

void Clocks::spend(i64 rank, Phase phase, double seconds) {
  now_[static_cast<std::size_t>(rank)] += seconds;
  spent_[at(rank, phase)] += seconds;
}

i64 Clocks::last_of(i64 begin, i64 end) const { return std::max_element(now_.begin() + begin, now_.begin() + end) - now_.begin(); }

double Clocks::last() const { return *std::ranges::max_element(now_); }

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
  extend_path(group, last_of(begin, end));
  paths_[static_cast<std::size_t>(group)][static_cast<std::size_t>(phase)] += seconds;
  wait(begin, end, phase, seconds);
}

void Clocks::meet(Phase phase, double seconds) {
  const i64 rank = last_of(0, ranks());
  extend_path(rank / group_size_, rank);
  paths_[static_cast<std::size_t>(rank / group_size_)][static_cast<std::size_t>(phase)] += seconds;
  const auto path = paths_[static_cast<std::size_t>(rank / group_size_)];
  std::ranges::fill(paths_, path);
  wait(0, ranks(), phase, seconds);
}

}  // namespace pleiad::sim
