#include "pleiad/model/widths.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad::model {

std::vector<i64> distributed_widths(Spec& moe, i64 experts, i64 mean) {
  const std::string kind = moe.choice("width_distribution", "homogeneous", {"homogeneous", "arithmetic", "geometric", "hybrid"},
                                      "how the total width is shared out among the experts");
  std::vector<double> part(static_cast<std::size_t>(experts), 1.0);
  if (kind == "arithmetic" || kind == "geometric") {
    const double ratio = moe.number("width_ratio", kind == "arithmetic" ? 23.0 / 9.0 : 128.0, 1, 1e6, "widest over narrowest expert");
    for (i64 e = 0; e < experts && experts > 1; ++e) {
      const double at = static_cast<double>(e) / static_cast<double>(experts - 1);
      part[e] = kind == "arithmetic" ? 1 + at * (ratio - 1) : std::pow(ratio, at);
    }
  } else if (kind == "hybrid") {
    for (i64 e = 0; e < experts; ++e) part[e] = 2 * e < experts ? 1 : 4 * e < 3 * experts ? 2 : 4;
  }
  // Round down, then hand what is left to the largest fractions; nobody stays below 1.
  const double sum = std::accumulate(part.begin(), part.end(), 0.0), total = static_cast<double>(experts * mean);
  std::vector<i64> width(part.size()), order(part.size());
  std::vector<double> fraction(part.size());
  for (std::size_t e = 0; e < part.size(); ++e) {
    const double exact = total * part[e] / sum;
    width[e] = std::max<i64>(1, static_cast<i64>(std::floor(exact + 1e-9)));
    fraction[e] = exact - static_cast<double>(width[e]);
    order[e] = static_cast<i64>(e);
  }
  std::ranges::stable_sort(order, [&](i64 a, i64 b) { return fraction[a] > fraction[b]; });
  i64 left = experts * mean - std::accumulate(width.begin(), width.end(), i64{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++width[order[i]];
  for (i64 e = experts - 1; left < 0; e = e > 0 ? e - 1 : experts - 1) {
    if (width[e] > 1) --width[e], ++left;
  }
  std::ranges::sort(width);
  return width;
}

}  // namespace pleiad::model
