// Compares an analytic gradient with central differences. For tests compiled in double (PLEIAD_DOUBLE=1).
// Usage: EXPECT_TRUE(gradient_agrees("d_x", [&] { return objective(x); }, x.flat(), d_x.flat()));
#pragma once
#include "pleiad/core/matrix.hpp"
#include "pleiad/core/real.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <type_traits>

namespace pleiad::test {

struct GradientCheck {
  double step = 1e-6;       ///< each entry is moved by +-step
  double tolerance = 1e-6;  ///< largest allowed relative error
  double floor = 1e-2;      ///< gradients smaller than this are compared as if they were this large
  i64 max_entries = 0;      ///< 0: all entries; otherwise that many, evenly spread (for large parameters)
};

/// Moves entries of `x` one by one, calls `objective` (callable as f() or f(x), returning a number that depends on x)
/// and compares the slope with `gradient`. x is restored exactly. Failure tells the worst entry. pre: equal lengths.
template <class Objective>
::testing::AssertionResult gradient_agrees(const std::string& what, Objective&& objective, std::span<real> x,
                                           std::span<const real> gradient, GradientCheck options = {}) {
  static_assert(std::is_same_v<real, double>, "numeric gradients need the double build (PLEIAD_DOUBLE=1)");
  if (x.size() != gradient.size()) {
    return ::testing::AssertionFailure() << what << ": " << x.size() << " values, " << gradient.size() << " gradients";
  }
  const auto value = [&]() -> double {
    if constexpr (std::is_invocable_v<Objective&, std::span<real>>) {
      return static_cast<double>(objective(x));
    } else {
      return static_cast<double>(objective());
    }
  };

  const i64 size = static_cast<i64>(x.size());
  const i64 entries = options.max_entries > 0 ? std::min(options.max_entries, size) : size;
  double worst = -1, worst_numeric = 0;
  std::size_t worst_at = 0;
  for (i64 e = 0; e < entries; ++e) {
    const std::size_t i = static_cast<std::size_t>(e * size / entries);
    const real kept = x[i];
    x[i] = static_cast<real>(kept + options.step);
    const double above = value();
    x[i] = static_cast<real>(kept - options.step);
    const double below = value();
    x[i] = kept;

    const double numeric = (above - below) / (2 * options.step);
    const double analytic = static_cast<double>(gradient[i]);
    double error = std::abs(numeric - analytic) / std::max({std::abs(numeric), std::abs(analytic), options.floor});
    if (!(error >= 0)) error = HUGE_VAL;  // NaN on either side
    if (error > worst) {
      worst = error;
      worst_at = i;
      worst_numeric = numeric;
    }
  }
  if (worst <= options.tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << what << ": worst entry " << worst_at << " of " << size << " has gradient "
                                       << gradient[worst_at] << ", central difference " << worst_numeric
                                       << " (relative error " << worst << ", allowed " << options.tolerance << ")";
}

}  // namespace pleiad::test
