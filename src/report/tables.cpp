#include "pleiad/report/tables.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

using Cell = Table::Cell;

constexpr const char* k_noncausal_note = "* looks at later tokens: its loss is not that of a language model";

bool noncausal(const Run& run) { return run.summary.looks_ahead; }
std::string router_of(const Run& run) { return (run.summary.router.empty() ? "none" : run.summary.router) + std::string(noncausal(run) ? " *" : ""); }

Cell words(const std::string& text) { return {text, text}; }
Cell number(const Metric& metric, const std::optional<double>& x) { return x ? Cell{metric.shown(*x), fmt::format("{}", *x)} : Cell{"-", ""}; }

void note_noncausal(const Collection& c, Table& table) {
  if (std::ranges::any_of(c.runs, noncausal)) table.notes.push_back(k_noncausal_note);
}

/// Mean, and behind it the deviation where the metric shows one and there is one to show.
void add_mean(const Metric& metric, const std::vector<const Run*>& runs, std::vector<Cell>& row) {
  const Spread s = spread_of(values_of(metric, runs));
  const bool known = s.n > 1;
  row.push_back(number(metric, s.n > 0 ? std::optional(s.mean) : std::nullopt));
  if (!metric.spread) return;
  if (known) row.back().shown += " ± " + metric.shown(s.deviation);
  row.push_back(known ? Cell{"", fmt::format("{}", s.deviation)} : Cell{});
}

}  // namespace

std::vector<const Run*> runs_of(const Collection& c, const Configuration& configuration) {
  std::vector<const Run*> runs;
  for (const std::size_t i : configuration.runs) runs.push_back(&c.runs[i]);
  return runs;
}

std::vector<const Run*> all_runs(const Collection& c) {
  std::vector<const Run*> runs;
  for (const Run& run : c.runs) runs.push_back(&run);
  return runs;
}

Table table_of_runs(const Collection& c) {
  Table table;
  const std::vector<Metric> metrics = table_metrics(all_runs(c));
  table.columns = {{"run", "run", true}, {"router", "router", true}, {"steps", "steps"}};
  for (const Metric& m : metrics) table.columns.push_back({m.title, m.csv});
  table.columns.push_back({"time", "seconds"});
  for (const Run& run : c.runs) {
    std::vector<Cell> row = {words(run.name()), words(router_of(run)),
                             words(fmt::format("{}{}", run.summary.steps, run.summary.finished ? "" : "..."))};
    for (const Metric& m : metrics) row.push_back(number(m, m.value(run)));
    row.push_back({duration(run.summary.seconds), fmt::format("{}", run.summary.seconds)});
    table.rows.push_back(std::move(row));
  }
  note_noncausal(c, table);
  return table;
}

Table table_of_configurations(const Collection& c) {
  Table table;
  std::vector<Metric> metrics = table_metrics(all_runs(c));
  const auto place = std::ranges::find(metrics, "mean_k", &Metric::csv);
  metrics.insert(place, training_flops_metric());
  const std::vector<std::string> names = short_keys(c.keys);
  for (std::size_t k = 0; k < c.keys.size(); ++k) table.columns.push_back({names[k], c.keys[k], true});
  if (c.keys.empty()) table.columns = {{"configuration", "configuration", true}, {"router", "router", true}};
  table.columns.push_back({"seeds", "seeds"});
  for (const Metric& m : metrics) {
    table.columns.push_back({m.title, m.csv});
    if (m.spread) table.columns.push_back({"", m.csv + "_deviation", false, true});
  }
  table.columns.push_back({"time", "seconds"});
  bool incomplete = false;
  for (const Configuration& configuration : c.configurations) {
    const std::vector<const Run*> runs = runs_of(c, configuration);
    const bool marked = std::ranges::any_of(runs, [](const Run* run) { return noncausal(*run); });
    std::vector<Cell> row;
    for (const std::string& value : configuration.values) row.push_back(words(value));
    if (marked && !row.empty()) row.front().shown += " *";
    if (c.keys.empty()) row = {words(configuration.label), words(router_of(*runs.front()))};
    const std::size_t measured = values_of(metrics.front(), runs).size();
    incomplete = incomplete || measured < runs.size();
    row.push_back(
        {measured < runs.size() ? fmt::format("{} of {}", measured, runs.size()) : fmt::format("{}", runs.size()), fmt::format("{}", measured)});
    for (const Metric& m : metrics) add_mean(m, runs, row);
    double seconds = 0;
    for (const Run* run : runs) seconds += run->summary.seconds / static_cast<double>(runs.size());
    row.push_back({duration(seconds), fmt::format("{}", seconds)});
    table.rows.push_back(std::move(row));
  }
  table.marks.resize(table.rows.size());
  if (const Ranking ranking = rank(c); ranking.order.size() > 1) table.marks[ranking.order.front()] = "best";
  note_noncausal(c, table);
  if (incomplete)
    table.notes.push_back("Where not all seeds have a finite held-out loss (diverged, or not evaluated), means of the loss are over those that do.");
  return table;
}

}  // namespace pleiad::report
