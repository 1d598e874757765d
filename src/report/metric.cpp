#include "pleiad/report/metric.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

using Value = std::optional<double>;

bool any_has(const std::vector<const Run*>& runs, const Metric& metric) {
  return std::ranges::any_of(runs, [&](const Run* run) { return metric.value(*run).has_value(); });
}

/// A metric that is a figure of the summary, under its name there.
Metric figure(std::string title, std::string csv, std::string unit, double scale, int digits, Better better) {
  return {std::move(title), csv, std::move(unit), scale, digits, better, false, [&f = io::summary_figure(csv)](const Run& run) { return f.value(run.summary); }};
}

Metric spread(Metric metric) {
  metric.spread = true;
  return metric;
}

Metric loss() { return spread(figure("loss", "loss_nats", "nat", 1, 4, Better::lower)); }
Metric above_floor() { return spread(figure("above floor", "above_floor_nats", "nat", 1, 4, Better::lower)); }
Metric accuracy() { return spread(figure("accuracy %", "accuracy", "%", 0.01, 2, Better::higher)); }
Metric matthews() { return spread(figure("Matthews", "matthews", "1", 1, 4, Better::higher)); }
Metric perplexity() {
  return {"perplexity", "perplexity", "1", 1, 3, Better::lower, false, [](const Run& run) {
            const auto& s = run.summary;
            return s.loss && model::predicts_next(s.task) ? Value(std::exp(*s.loss)) : Value();
          }};
}

/// Held-out loss, and what else says how good a run is.
std::vector<Metric> qualities(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = {loss()};
  for (const Metric& more : {above_floor(), accuracy(), matthews()}) {
    if (any_has(runs, more)) m.push_back(more);
  }
  return m;
}

Metric active() { return figure("active M", "active_parameters", "M", 1e6, 3, Better::neither); }
Metric mean_k() { return figure("mean K", "mean_k", "experts", 1, 2, Better::neither); }
Metric imbalance() { return figure("flops imbalance", "flops_imbalance", "1", 1, 2, Better::lower); }
Metric bytes() { return figure("bytes/token", "bytes_per_token", "byte/token", 1, 0, Better::lower); }

}  // namespace

std::string Metric::shown(double x) const {
  return digits < 0 ? fmt::format("{:.{}g}", x / scale, -digits) : fmt::format("{:.{}f}", x / scale, digits);
}

std::vector<Metric> table_metrics(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = qualities(runs);
  m.push_back(figure("params M", "parameters", "M", 1e6, 3, Better::neither));
  m.push_back(active());
  m.push_back(figure("Mflop/token", "flops_per_token", "Mflop/token", 1e6, 3, Better::neither));
  m.push_back(mean_k());
  m.push_back(imbalance());
  m.push_back(bytes());
  return m;
}

Metric training_flops_metric() { return figure("train Tflop", "training_flops", "Tflop", 1e12, -3, Better::neither); }

std::vector<Metric> comparison_metrics(const std::vector<const Run*>& runs) {
  std::vector<Metric> m = qualities(runs);
  if (any_has(runs, perplexity())) m.push_back(perplexity());
  m.push_back(figure("expert Mflop/token", "expert_flops_per_token", "Mflop/token", 1e6, 3, Better::neither));
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
