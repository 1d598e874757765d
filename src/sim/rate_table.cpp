#include "pleiad/sim/rate_table.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {

namespace {

/// Where a value lies on an axis: between points i and i+1, `share` of the way (0 where there is but one point); `below` is the part that is missing below it.
struct Place {
  std::size_t i = 0, next = 0;
  double share = 0, below = 1;
  bool inside = true;
};

Place place_on(const std::vector<double>& axis, double value) {
  Place p;
  p.inside = value >= axis.front() && value <= axis.back();
  p.below = std::min(1.0, value / axis.front());
  const double clamped = std::clamp(value, axis.front(), axis.back());
  p.i = static_cast<std::size_t>(std::max<std::ptrdiff_t>(std::ranges::upper_bound(axis, clamped) - axis.begin() - 1, 0));
  p.i = std::min(p.i, axis.size() - (axis.size() > 1 ? 2 : 1));
  p.next = std::min(p.i + 1, axis.size() - 1);
  if (p.next > p.i) p.share = std::log(clamped / axis[p.i]) / std::log(axis[p.next] / axis[p.i]);
  return p;
}

void require_ascending(const std::vector<double>& axis) {
  PLEIAD_CHECK(!axis.empty() && axis.front() > 0, "an axis of {} points", axis.size());
  for (std::size_t i = 1; i < axis.size(); ++i) PLEIAD_CHECK(axis[i] > axis[i - 1], "{} after {}", axis[i], axis[i - 1]);
}

}  // namespace

RateTable::RateTable(std::vector<double> rows, std::vector<double> widths, std::vector<double> rates) : rows_(std::move(rows)), widths_(std::move(widths)), rates_(std::move(rates)) {
  require_ascending(rows_);
  require_ascending(widths_);
  PLEIAD_CHECK(rates_.size() == rows_.size() * widths_.size(), "{} rates for {} x {} points", rates_.size(), rows_.size(), widths_.size());
  for (const double r : rates_) PLEIAD_CHECK(r > 0, "a rate of {}", r);
}

RateTable::Answer RateTable::at(double row, double width) const {
  const Place r = place_on(rows_, row), w = place_on(widths_, width);
  const auto log_rate = [&](std::size_t i, std::size_t j) { return std::log(rates_[i * widths_.size() + j]); };
  const auto along_widths = [&](std::size_t i) { return log_rate(i, w.i) + w.share * (log_rate(i, w.next) - log_rate(i, w.i)); };
  const double low = along_widths(r.i), log = r.share > 0 ? low + r.share * (along_widths(r.next) - low) : low;
  return {std::exp(log) * r.below * w.below, r.inside && w.inside};
}

}  // namespace pleiad::sim
