#include "pleiad/core/expert_map.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/core/lanes.hpp"

namespace pleiad {

ExpertPlacement expert_placement_from(const std::string& word) {
  if (word == "block") return ExpertPlacement::block;
  if (word == "round_robin") return ExpertPlacement::round_robin;
  PLEIAD_CHECK(word == "balanced", "placement {}", word);
  return ExpertPlacement::balanced;
}

ExpertMap::ExpertMap(ExpertPlacement rule, const std::vector<i64>& widths, i64 owners)
    : rule_(rule), widths_(widths), owner_(widths.size()) {
  PLEIAD_CHECK(owners > 0, "{} owners", owners);
  const i64 experts = static_cast<i64>(widths.size());
  if (rule == ExpertPlacement::balanced) {
    std::vector<i64> order(widths.size());
    std::iota(order.begin(), order.end(), i64{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](i64 a, i64 b) { return widths[a] > widths[b]; });
    std::vector<i64> load(static_cast<std::size_t>(owners), 0);
    for (const i64 e : order) {
      const auto lightest = std::min_element(load.begin(), load.end());
      *lightest += widths[e];
      owner_[e] = lightest - load.begin();
    }
  } else if (rule == ExpertPlacement::round_robin) {
    for (i64 e = 0; e < experts; ++e) owner_[e] = e % owners;
  } else {
    for (i64 r = 0; r < owners; ++r) {
      const Range mine = share(experts, owners, r);
      for (i64 e = mine.begin; e < mine.end(); ++e) owner_[e] = r;
    }
  }
  number_locally(owners);
}

ExpertMap::ExpertMap(std::vector<i64> owner, i64 owners) : owner_(std::move(owner)) {
  for (const i64 o : owner_) PLEIAD_CHECK(o >= 0 && o < owners, "owner {} of {}", o, owners);
  number_locally(owners);
}

void ExpertMap::number_locally(i64 owners) {
  local_.resize(owner_.size());
  owned_.resize(static_cast<std::size_t>(owners));
  for (i64 e = 0; e < experts(); ++e) {
    auto& list = owned_[owner(e)];
    local_[e] = static_cast<i64>(list.size());
    list.push_back(e);
  }
}

std::vector<double> load_per_owner(std::span<const double> load, std::span<const i64> owner, i64 owners) {
  std::vector<double> sum(static_cast<std::size_t>(owners), 0.0);
  for (std::size_t e = 0; e < load.size(); ++e) sum[owner[e]] += load[e];
  return sum;
}

namespace {

/// Expert `give` of the heaviest owner goes to `to`, for expert `take` of that one (-1: for nothing).
struct Swap {
  i64 give = -1, take = -1, to = -1;
  double peak = 0;  ///< the larger of the two loads afterwards
};

Swap best_swap(std::span<const double> load, std::span<const i64> owner, std::span<const double> sum, i64 heaviest) {
  Swap best{.peak = sum[heaviest]};
  const i64 experts = static_cast<i64>(load.size());
  for (i64 give = 0; give < experts; ++give) {
    if (owner[give] != heaviest) continue;
    const auto consider = [&](i64 take, i64 to) {
      const double shift = load[give] - (take < 0 ? 0 : load[take]);
      const double peak = std::max(sum[heaviest] - shift, sum[to] + shift);
      if (peak < best.peak) best = {give, take, to, peak};
    };
    for (i64 to = 0; to < static_cast<i64>(sum.size()); ++to) {
      if (to != heaviest) consider(-1, to);
    }
    for (i64 take = 0; take < experts; ++take) {
      if (owner[take] != heaviest) consider(take, owner[take]);
    }
  }
  return best;
}

}  // namespace

std::vector<i64> rebalanced_owners(std::span<const double> load, std::vector<i64> owner, i64 owners, double tolerance) {
  std::vector<double> sum = load_per_owner(load, owner, owners);
  const double mean = std::accumulate(sum.begin(), sum.end(), 0.0) / static_cast<double>(owners);
  for (std::size_t moves = 0; moves < load.size(); ++moves) {
    const i64 heaviest = std::ranges::max_element(sum) - sum.begin();
    const Swap swap = best_swap(load, owner, sum, heaviest);
    if (sum[heaviest] - swap.peak <= tolerance * mean) break;
    owner[swap.give] = swap.to;
    if (swap.take >= 0) owner[swap.take] = heaviest;
    sum = load_per_owner(load, owner, owners);
  }
  return owner;
}

}  // namespace pleiad
