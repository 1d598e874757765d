// The figures by which runs are compared: name, unit, how many digits, which way is better, and how to get one from a run.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pleiad/report/run.hpp"
#include "pleiad/report/statistics.hpp"

namespace pleiad::report {

enum class Better { lower, higher, neither };

struct Metric {
  std::string title = {}, csv = {};  ///< for people, in `unit`; for programs, in the unit of the record
  std::string unit = {};
  double scale = 1;  ///< what is shown is value / scale
  int digits = 0;    ///< after the point; negative: so many significant ones
  Better better = Better::neither;
  bool spread = false;  ///< a table of configurations shows its deviation
  std::function<std::optional<double>(const Run&)> value = {};

  std::string shown(double x) const;  ///< x / scale with its digits
};

/// Those of a table of runs, in its order; columns that no run has (floor, accuracy) are left out.
std::vector<Metric> table_metrics(const std::vector<const Run*>& runs);
/// Forward and backward operations of all steps.
Metric training_flops_metric();
/// Those of a comparison of two sides.
std::vector<Metric> comparison_metrics(const std::vector<const Run*>& runs);
/// What decides which configuration is best: accuracy if all runs are classifiers, held-out loss otherwise.
Metric quality_metric(const std::vector<const Run*>& runs);

/// The values of runs that have one.
std::vector<double> values_of(const Metric& metric, const std::vector<const Run*>& runs);

}  // namespace pleiad::report
