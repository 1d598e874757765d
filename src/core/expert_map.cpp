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
    : rule_(rule), widths_(widths), owner_(widths.size()), local_(widths.size()), owned_(static_cast<std::size_t>(owners)) {
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
  for (i64 e = 0; e < experts; ++e) {
    auto& list = owned_[owner(e)];
    local_[e] = static_cast<i64>(list.size());
    list.push_back(e);
  }
}

}  // namespace pleiad
