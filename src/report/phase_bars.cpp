#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/figure.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_shown = 7, k_labels = 16;

/// Places of the phases that take most, in their order.
std::vector<std::size_t> largest_phases(const PhaseBars& bars) {
  std::vector<std::size_t> order(bars.phases.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto total = [&](std::size_t p) {
    return std::accumulate(bars.values.begin(), bars.values.end(), 0.0, [p](double sum, const auto& bar) { return sum + bar[p]; });
  };
  std::ranges::stable_sort(order, std::greater<>(), total);
  order.resize(std::min(order.size(), k_shown));
  std::ranges::sort(order);
  return order;
}

}  // namespace

void add_phase_bars(Figure& f, const PhaseBars& bars) {
  const std::vector<std::size_t> shown = largest_phases(bars);
  std::vector<std::string> entries;
  for (const std::size_t p : shown) entries.push_back(bars.phases[p]);
  entries.push_back("other phases");
  Block b{bars.title, {bars.x_label + " [1]"}};
  for (const std::string& name : entries) b.columns.push_back(fmt::format("{} [{}]", name, bars.unit));
  for (std::size_t i = 0; i < bars.values.size(); ++i) {
    b.rows.push_back({bars.places[i]});
    double rest = std::accumulate(bars.values[i].begin(), bars.values[i].end(), 0.0);
    for (const std::size_t p : shown) {
      b.rows.back().push_back(bars.values[i][p]);
      rest -= bars.values[i][p];
    }
    b.rows.back().push_back(std::max(0.0, rest));
  }
  f.add(std::move(b));
  Panel panel{.x_label = bars.x_label, .y_label = bars.y_label};
  panel.settings = {"set style data histograms",
                    "set style histogram rowstacked",
                    "set boxwidth 0.7",
                    "set style fill solid 1 border rgb '#ffffff'",
                    bars.unit == "%" ? "set yrange [0:100]" : "set yrange [0:*]",
                    "unset grid",
                    "set grid y"};
  const std::size_t labelled = (bars.values.size() + k_labels - 1) / k_labels;  // every so many-th bar
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string color = i < shown.size() ? color_of(i) : "#bbbbbb";
    panel.elements.push_back(fmt::format("data index 0 using {}{} lc rgb '{}' title {}", i + 2, i == 0 ? fmt::format(":xtic(int($0) % {} == 0 ? strcol(1) : '')", std::max<std::size_t>(1, labelled)) : "", color, quote(entries[i])));
  }
  f.settings = {legend_below(f, entries)};
  f.panels = {std::move(panel)};
}

}  // namespace pleiad::report
