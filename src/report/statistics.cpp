#include "pleiad/report/statistics.hpp"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

/// Fills interval and p of a difference with this standard error.
void judge(Difference& d, double error, double degrees, double confidence) {
  d.has_interval = true;
  const double reach = student_t(degrees, confidence) * error;
  d.low = d.mean - reach;
  d.high = d.mean + reach;
  if (error > 0) {
    d.p = 2 * boost::math::cdf(boost::math::complement(boost::math::students_t(degrees), std::abs(d.mean) / error));
  } else {
    d.p = d.mean == 0 ? 1 : 0;
  }
}

std::vector<std::size_t> ascending(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return values[i]; });
  return order;
}

}  // namespace

Spread spread_of(std::span<const double> values) {
  Spread s;
  s.n = static_cast<i64>(values.size());
  if (s.n == 0) return s;
  s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(s.n);
  double squares = 0;
  for (const double x : values) squares += (x - s.mean) * (x - s.mean);
  if (s.n > 1) s.deviation = std::sqrt(squares / static_cast<double>(s.n - 1));
  return s;
}

double student_t(double degrees, double confidence) {
  return boost::math::quantile(boost::math::complement(boost::math::students_t(degrees), (1 - confidence) / 2));
}

Difference paired_difference(std::span<const double> a, std::span<const double> b, double confidence) {
  PLEIAD_CHECK(a.size() == b.size(), "{} and {} numbers are not pairs", a.size(), b.size());
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = b[i] - a[i];
  const Spread s = spread_of(differences);
  Difference d{.n = s.n, .mean = s.mean};
  if (s.n > 1) judge(d, s.deviation / std::sqrt(static_cast<double>(s.n)), static_cast<double>(s.n - 1), confidence);
  return d;
}

Difference welch_difference(std::span<const double> a, std::span<const double> b, double confidence) {
  const Spread u = spread_of(a), v = spread_of(b);
  Difference d{.n = std::min(u.n, v.n), .mean = v.mean - u.mean};
  if (d.n < 2) return d;
  const double p = u.deviation * u.deviation / static_cast<double>(u.n), q = v.deviation * v.deviation / static_cast<double>(v.n);
  const double below = p * p / static_cast<double>(u.n - 1) + q * q / static_cast<double>(v.n - 1);
  judge(d, std::sqrt(p + q), below > 0 ? (p + q) * (p + q) / below : static_cast<double>(u.n + v.n - 2), confidence);
  return d;
}

std::vector<std::size_t> pareto_front(std::span<const double> cost, std::span<const double> loss) {
  std::vector<std::size_t> order;
  for (const std::size_t i : ascending(cost)) {
    if (std::isfinite(cost[i]) && std::isfinite(loss[i])) order.push_back(i);
  }
  // Of equal cost the lowest loss comes first; stable, so of equal points the first.
  std::ranges::stable_sort(order, [&](std::size_t i, std::size_t j) { return cost[i] != cost[j] ? cost[i] < cost[j] : loss[i] < loss[j]; });
  std::vector<std::size_t> front;
  for (const std::size_t i : order) {
    if (front.empty() || loss[i] < loss[front.back()]) front.push_back(i);
  }
  return front;
}

Curve smooth(const Curve& curve, i64 points, i64 window) {
  Curve kept, result;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!std::isfinite(curve.y[i]) || !std::isfinite(curve.x[i])) continue;
    kept.x.push_back(curve.x[i]);
    kept.y.push_back(curve.y[i]);
  }
  const i64 n = static_cast<i64>(kept.x.size()), stretches = std::min(points, n);
  std::vector<double> sum_x(static_cast<std::size_t>(n) + 1), sum_y(static_cast<std::size_t>(n) + 1);
  std::partial_sum(kept.x.begin(), kept.x.end(), sum_x.begin() + 1);
  std::partial_sum(kept.y.begin(), kept.y.end(), sum_y.begin() + 1);
  for (i64 s = 0; s < stretches; ++s) {
    i64 first = s * n / stretches, last = (s + 1) * n / stretches;
    const i64 more = std::max<i64>(0, window - (last - first)) / 2;
    first = std::max<i64>(0, first - more);
    last = std::min(n, last + more);
    const double count = static_cast<double>(last - first);
    result.x.push_back((sum_x[last] - sum_x[first]) / count);
    result.y.push_back((sum_y[last] - sum_y[first]) / count);
  }
  return result;
}

std::vector<std::size_t> thinned(std::size_t n, std::size_t most) {
  std::vector<std::size_t> places(std::min(n, most));
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = n <= most ? i : i * (n - 1) / (most - 1);
  return places;
}

std::optional<double> at(const Curve& curve, double x) {
  if (curve.x.empty() || x < curve.x.front() || x > curve.x.back()) return {};
  const std::size_t after = static_cast<std::size_t>(std::ranges::upper_bound(curve.x, x) - curve.x.begin());
  if (after == curve.x.size()) return curve.y.back();
  const double x0 = curve.x[after - 1], x1 = curve.x[after], part = x1 > x0 ? (x - x0) / (x1 - x0) : 0;
  return curve.y[after - 1] + part * (curve.y[after] - curve.y[after - 1]);
}

Band band_of(const std::vector<Curve>& curves, i64 points, bool logarithmic) {
  Band band;
  double low = -INFINITY, high = INFINITY;
  for (const Curve& c : curves) {
    if (c.x.empty()) return band;
    low = std::max(low, c.x.front());
    high = std::min(high, c.x.back());
  }
  if (curves.empty() || low > high || points < 1) return band;
  const bool logs = logarithmic && low > 0;
  for (i64 i = 0; i < points; ++i) {
    const double part = points > 1 ? static_cast<double>(i) / static_cast<double>(points - 1) : 0;
    // The last place is the end itself, free of rounding.
    const double x = part == 1 ? high : logs ? std::min(high, low * std::pow(high / low, part)) : low + part * (high - low);
    std::vector<double> values;
    for (const Curve& c : curves) values.push_back(at(c, x).value());
    const Spread s = spread_of(values);
    band.x.push_back(x);
    band.mean.push_back(s.mean);
    band.deviation.push_back(s.deviation);
  }
  return band;
}

std::vector<std::size_t> levels(std::span<const double> values, double tolerance) {
  std::vector<std::size_t> level(values.size());
  std::size_t current = 0;
  double least = NAN;
  for (const std::size_t i : ascending(values)) {
    if (std::isnan(least)) least = values[i];
    if (values[i] > least * (1 + tolerance)) {
      ++current;
      least = values[i];
    }
    level[i] = current;
  }
  return level;
}

}  // namespace pleiad::report
