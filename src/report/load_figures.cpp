// Load of experts and ranks: heat maps over time, and the figures that sum them up.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/run_figures.hpp"

namespace pleiad::report {

namespace {

constexpr i64 k_columns = 100;

/// Experts listed in the record (up to 4,096); 0 if it lists none.
i64 listed_experts(const RunData& d) { return d.file.exists("/routing/expert_tokens") ? d.file.extent("/routing/expert_tokens", 2) : 0; }

std::string not_listed(const RunData& d) {
  return fmt::format("The record does not list single experts: there are {:.0f}, more than 4,096.", d.run.experts);
}

/// Share over fair share of each group of experts in one layer of one bin: fair is 1.
std::vector<double> loads(const std::vector<double>& row, std::size_t layer, const ExpertGroups& groups) {
  const std::size_t n = static_cast<std::size_t>(groups.experts);
  const std::span<const double> layer_row = std::span(row).subspan(layer * n, n);
  const double mean = std::accumulate(layer_row.begin(), layer_row.end(), 0.0) / static_cast<double>(n);
  std::vector<double> load = groups.means(layer_row);
  for (double& x : load) x = mean > 0 ? x / mean : NAN;
  return load;
}

Figure load_heat_map(const RunData& d, bool flops) {
  const std::string what = flops ? "FLOPs" : "tokens", name = flops ? "expert_flops" : "expert_tokens";
  Figure f{.id = d.id + (flops ? "-load-flops" : "-load-tokens"), .title = "Expert load over time, in " + what};
  const ExpertGroups groups(listed_experts(d));
  const Binned rows = groups.experts > 0 ? read_binned(d.file, "/routing/" + name, k_columns) : Binned{};
  if (groups.experts == 0) return absent_figure(f.id, f.title, not_listed(d));
  if (rows.mean.empty()) return absent_figure(f.id, f.title, "The run has made no step yet.");
  std::vector<HeatMap> maps;
  for (const std::size_t layer : d.layers) {
    HeatMap map{d.layer_name(layer),
                "training step",
                groups.label(),
                "load",
                rows.step,
                groups.centres(),
                std::vector<std::vector<double>>(static_cast<std::size_t>(groups.count()))};
    for (const std::vector<double>& row : rows.mean) {
      const std::vector<double> load = loads(row, layer, groups);
      for (std::size_t g = 0; g < load.size(); ++g) map.value[g].push_back(load[g]);
    }
    maps.push_back(std::move(map));
  }
  const double top = color_top(maps);
  for (HeatMap& map : maps) {
    map.top = top;
    add_heat_map(f, map,
                 {fmt::format("set ytics {:g}", std::max(1.0, nice_step(static_cast<double>(groups.experts), 8))),
                  fmt::format("set xtics {:g}", std::max(1.0, nice_step(rows.step.back(), 5)))});
  }
  lay_out_panels(f);
  f.caption = fmt::format(
      "Load: the expert's share of the {} of a training step over the fair share 1/{}; 1 is even. Means over {} stretches of steps{}; larger loads "
      "have the last colour.{}",
      flops ? "forward FLOPs of all experts of the layer" : "kept assignments", groups.experts, rows.mean.size(),
      groups.size > 1 ? fmt::format(" and over groups of {} experts", groups.size) : "", d.layers_note());
  return f;
}

/// max over mean of the ranks' experts, from /ranks/P/NAME, of the number of ranks with the most rows.
bool add_rank_lines(const RunData& d, Figure& f, Panel& p, const std::string& name) {
  std::string group;
  i64 most = 0;
  for (const std::string& ranks : d.file.exists("/ranks") ? d.file.list("/ranks") : std::vector<std::string>{}) {
    const std::string dataset = "/ranks/" + ranks + "/" + name;
    if (ranks == "1" || !d.file.exists(dataset) || d.file.extent(dataset, 0) <= most) continue;
    most = d.file.extent(dataset, 0);
    group = "/ranks/" + ranks;
  }
  if (group.empty()) return false;
  const Binned rows = read_binned(d.file, group + "/" + name, k_columns), steps = read_binned(d.file, group + "/step", k_columns);
  Block b{name + " of " + group.substr(7) + " ranks", {"step [1]"}};
  for (const std::size_t l : d.layers) b.columns.push_back(d.layer_name(l));
  for (std::size_t i = 0; i < rows.mean.size(); ++i) {
    b.rows.push_back({steps.mean[i][0]});
    for (const std::size_t l : d.layers) b.rows.back().push_back(rows.mean[i][l]);
  }
  const std::size_t at = f.add(std::move(b));
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    p.elements.push_back(fmt::format("data index {} using 1:{} with lines lc rgb '{}' lw 2 dt {} title {}", at, i + 2, color_of(i), i % 4 + 1,
                                     quote(d.layer_name(d.layers[i]))));
  }
  f.legend = d.layer_names();
  set_lines(p, steps.mean.empty() ? 1 : steps.mean.back()[0]);
  return true;
}

Figure balance_figure(const RunData& d) {
  Figure f{.id = d.id + "-balance", .title = "Load balance"};
  const std::vector<std::array<std::string, 4>> of_experts = {{"imbalance", "experts, tokens", "largest / mean [1]", "[1:*]"},
                                                              {"flops_imbalance", "experts, FLOPs", "largest / mean [1]", "[1:*]"},
                                                              {"load_variation", "coefficient of variation", "deviation / mean [1]", "[0:*]"},
                                                              {"load_entropy", "normalised entropy", "entropy / ln N [1]", "[*:1]"},
                                                              {"load_divergence", "divergence from even", "KL divergence [nat]", "[0:*]"}};
  const std::vector<std::array<std::string, 2>> of_ranks = {{"overload", "ranks, tokens"}, {"flops_overload", "ranks, FLOPs"}};
  for (const auto& [name, title] : of_ranks) {
    Panel p{.title = title, .y_label = "largest / mean [1]"};
    if (!add_rank_lines(d, f, p, name)) continue;
    p.settings.push_back("set yrange [1:*]");
    f.panels.push_back(std::move(p));
  }
  const bool ranks = !f.panels.empty();
  std::size_t place = 0;
  for (const auto& [name, title, unit, range] : of_experts) {
    Panel p{.title = title, .y_label = unit};
    if (!add_layer_lines(d, f, p, name)) continue;
    p.settings.push_back("set yrange " + range);
    f.panels.insert(f.panels.begin() + static_cast<std::ptrdiff_t>(place < 2 ? place : f.panels.size()), std::move(p));
    ++place;
  }
  if (f.panels.empty()) return absent_figure(f.id, f.title, "The run has made no step and no evaluation yet.");
  lay_out_panels(f);
  f.caption = "Overload factor (largest over mean) of the experts' tokens and FLOPs";
  f.caption += ranks ? " and of what each rank's experts compute; " : "; ";
  f.caption +=
      "standard deviation over mean of the tokens per expert; entropy of their shares over ln N (1: even); their divergence from even shares. Thin "
      "lines: training, means over 1/100 of the run. Points: held-out.";
  if (!ranks) f.caption += d.run.ranks == 1 ? " On one rank there is no balance over ranks." : " The record has no load by rank.";
  f.caption += d.layers_note();
  return f;
}

Figure usage_figure(const RunData& d) {
  Figure f{.id = d.id + "-usage", .title = "Usage and unevenness"};
  Panel usage{.title = "usage", .y_label = "experts in use [%]"}, unevenness{.title = "unevenness", .y_label = "divergence [nat]"};
  if (add_layer_lines(d, f, usage, "usage", 100)) f.panels.push_back(usage);
  if (add_layer_lines(d, f, unevenness, "unevenness")) f.panels.push_back(unevenness);
  for (Panel& p : f.panels)
    p.settings.insert(p.settings.end(), {"set offsets 0, 0, graph 0.05, 0", p.title == "usage" ? "set yrange [0:100]" : "set yrange [0:*]"});
  if (f.panels.empty()) return absent_figure(f.id, f.title, "The run has made no step and no evaluation yet.");
  lay_out_panels(f);
  f.caption =
      "Usage: share of experts with any weight. Unevenness: divergence of the experts' summed weights from an even use, 0 to ln N. Thin lines: "
      "training; points: held-out." +
      d.layers_note();
  return f;
}

}  // namespace

std::vector<Figure> load_figures(const RunData& d) { return {load_heat_map(d, false), load_heat_map(d, true), balance_figure(d), usage_figure(d)}; }

}  // namespace pleiad::report
