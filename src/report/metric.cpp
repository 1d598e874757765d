#include "pleiad/report/metric.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

using Value = std::optional<double>;

bool any_has(const std::vector<const Run*>& runs, std::optional<double> io::RunSummary::*member) {
  return std::ranges::any_of(runs, [&](const Run* run) { return (run->summary.*member).has_value(); });
}

/// A metric that is a figure of the summary.
Metric figure(std::string title, std::string csv, std::string unit, double scale, int digits, Better better,
              std::optional<double> io::RunSummary::*member) {
  return {std::move(title), std::move(csv), std::move(unit), scale, digits, better, false, [member](const Run& run) { return run.summary.*member; }};
}

Metric spread(Metric metric) {
  metric.spread = true;
  return metric;
}

Metric loss() { return spread(figure("loss", "loss_nats", "nat", 1, 4, Better::lower, &io::RunSummary::loss)); }
Metric above_floor() { return spread(figure("above floor", "above_floor_nats", "nat", 1, 4, Better::lower, &io::RunSummary::above_floor)); }
Metric accuracy() { return spread(figure("accuracy %", "accuracy", "%", 0.01, 2, Better::higher, &io::RunSummary::accuracy)); }

/// Held-out loss, and what else says how good a run is.
std::vector<Metric> qualities(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = {loss()};
  if (any_has(runs, &io::RunSummary::above_floor)) m.push_back(above_floor());
  if (any_has(runs, &io::RunSummary::accuracy)) m.push_back(accuracy());
  return m;
}

Metric active() { return figure("active M", "active_parameters", "M", 1e6, 3, Better::neither, &io::RunSummary::active_parameters); }
Metric mean_k() { return figure("mean K", "mean_k", "experts", 1, 2, Better::neither, &io::RunSummary::mean_k); }
Metric imbalance() { return figure("flops imbalance", "flops_imbalance", "1", 1, 2, Better::lower, &io::RunSummary::flops_imbalance); }
Metric bytes() { return figure("bytes/token", "bytes_per_token", "byte/token", 1, 0, Better::lower, &io::RunSummary::bytes_per_token); }

}  // namespace

std::string Metric::shown(double x) const {
  return digits < 0 ? fmt::format("{:.{}g}", x / scale, -digits) : fmt::format("{:.{}f}", x / scale, digits);
}

std::vector<Metric> table_metrics(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = qualities(runs);
  m.push_back({"params M", "parameters", "M", 1e6, 3, Better::neither, false, [](const Run& run) { return Value(run.summary.parameters); }});
  m.push_back(active());
  m.push_back(figure("Mflop/token", "flops_per_token", "Mflop/token", 1e6, 3, Better::neither, &io::RunSummary::flops_per_token));
  m.push_back(mean_k());
  m.push_back(imbalance());
  m.push_back(bytes());
  return m;
}

std::vector<Metric> comparison_metrics(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = qualities(runs);
  m.push_back({"perplexity", "perplexity", "1", 1, 3, Better::lower, false,
               [](const Run& run) { return run.summary.loss ? Value(std::exp(*run.summary.loss)) : Value(); }});
  m.push_back(
      figure("expert Mflop/token", "expert_flops_per_token", "Mflop/token", 1e6, 3, Better::neither, &io::RunSummary::expert_flops_per_token));
  m.push_back(active());
  m.push_back(mean_k());
  m.push_back(imbalance());
  m.push_back(bytes());
  m.push_back({"seconds/step", "seconds_per_step", "s", 1, 4, Better::lower, false,
               [](const Run& run) { return run.summary.steps > 0 ? Value(run.summary.seconds / static_cast<double>(run.summary.steps)) : Value(); }});
  return m;
}

Metric quality_metric(const std::vector<const Run*>& runs) {
  return !runs.empty() && std::ranges::all_of(runs, [](const Run* run) { return run->summary.accuracy.has_value(); }) ? accuracy() : loss();
}

std::vector<double> values_of(const Metric& metric, const std::vector<const Run*>& runs) {
  std::vector<double> values;
  for (const Run* run : runs) {
    if (const Value v = metric.value(*run)) values.push_back(*v);
  }
  return values;
}

}  // namespace pleiad::report
