// The tables of a report, and the answer in words: which configuration is best, and how sure that is.
#pragma once
#include "pleiad/report/collection.hpp"
#include "pleiad/report/metric.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

/// One row per run.
Table table_of_runs(const Collection& collection);
/// One row per configuration: what was swept, number of seeds, means, and the sample deviation of the losses; the best one is marked.
Table table_of_configurations(const Collection& collection);

/// The best and the second best configuration by mean quality.
struct Ranking {
  std::vector<std::size_t> order;  ///< places of configurations that can be compared, best first
  Metric quality;
  std::string refusal;  ///< why there is no order, one sentence; empty if there is
};
Ranking rank(const Collection& collection);
/// "best: ..." with the difference to the second and its interval, and whether they can be told apart.
std::string verdict(const Collection& collection, double confidence);

/// The runs of a configuration; all runs.
std::vector<const Run*> runs_of(const Collection& collection, const Configuration& configuration);
std::vector<const Run*> all_runs(const Collection& collection);

}  // namespace pleiad::report
