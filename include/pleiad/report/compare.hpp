// Two sides of runs, pair by pair: the difference of every metric with its interval, and what differs in the configuration.
#pragma once
#include <string>
#include <vector>

#include "pleiad/report/report.hpp"
#include "pleiad/report/selection.hpp"
#include "pleiad/report/statistics.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

struct Pairing {
  std::vector<std::string> keys;                         ///< beside the seed
  std::vector<std::pair<const Run*, const Run*>> pairs;  ///< of A and B
  std::vector<std::string> left_over;                    ///< sentences about runs without a partner, or with several
};
/// Runs of the same seed, and of the same values of those keys that vary on both sides.
Pairing pair_runs(const Side& a, const Side& b);

/// `request.paths` are the two sides. Returns what the terminal shows. UserError if a side has no run, there is no pair, or the sides were
/// measured on different data.
std::string compare(const ReportRequest& request);

/// One row per metric that both sides have: means, mean paired difference B - A, interval, p.
Table difference_table(const Pairing& pairing, double confidence);
/// One row per key of the configuration in which the sides differ: the values of A and of B.
Table configuration_table(const Side& a, const Side& b);

}  // namespace pleiad::report
