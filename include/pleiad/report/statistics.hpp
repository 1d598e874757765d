// What a report computes: mean and spread over seeds, differences with their intervals (Student's t), Pareto fronts, and curves made short
// enough to draw. Pure functions of numbers.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::report {

/// Mean, and sample standard deviation (n - 1; 0 if n < 2) of n numbers.
struct Spread {
  i64 n = 0;
  double mean = 0, deviation = 0;
};
Spread spread_of(std::span<const double> values);

/// A difference of means, with the interval that holds the true one with the given confidence. Without one (n too small): has_interval is false.
struct Difference {
  i64 n = 0;
  double mean = 0;
  bool has_interval = false;
  double low = 0, high = 0;
  double p = 1;  ///< of so large a difference, or a larger one, if there were none; two-sided
  bool separable() const { return has_interval && (low > 0 || high < 0); }
};
/// Student's t over the differences b - a of pairs, n - 1 degrees of freedom. pre: equal lengths, 0 < confidence < 1.
Difference paired_difference(std::span<const double> a, std::span<const double> b, double confidence);
/// Welch's t for b - a of independent samples, degrees of freedom after Welch and Satterthwaite. An interval needs two on each side.
Difference welch_difference(std::span<const double> a, std::span<const double> b, double confidence);

/// The quantile t with P(|T| <= t) = confidence for Student's distribution. pre: degrees > 0.
double student_t(double degrees, double confidence);

/// Places of the points that no other one beats: none has a cost as low and a quality loss as low, and one of them lower. Ascending by cost;
/// of equal points the first. NaN is never on the front.
std::vector<std::size_t> pareto_front(std::span<const double> cost, std::span<const double> loss);

/// A curve, x ascending.
struct Curve {
  std::vector<double> x, y;
};
/// Means over at most `points` stretches of equal numbers of points, each over a window of at least `window` points around it.
/// Points with a y that is not finite are left out.
Curve smooth(const Curve& curve, i64 points, i64 window);
/// Places 0 to n - 1, or `most` of them evenly spread, with the first and the last one. pre: most > 1.
std::vector<std::size_t> thinned(std::size_t n, std::size_t most);
/// The curve at x between its points, on straight lines; nothing outside.
std::optional<double> at(const Curve& curve, double x);

/// Mean and deviation of several curves on one grid of `points` places in the range that all share, evenly spaced in x, or in log x.
struct Band {
  std::vector<double> x, mean, deviation;
};
Band band_of(const std::vector<Curve>& curves, i64 points, bool logarithmic);

/// Groups of numbers that are equal up to the factor 1 + tolerance: for each number the place of its group, groups ascending.
/// A group spans at most that factor from its least member. pre: numbers positive.
std::vector<std::size_t> levels(std::span<const double> values, double tolerance);

}  // namespace pleiad::report
