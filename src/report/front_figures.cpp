// Figures of final quality: over seeds, against what a token costs, and at equal training FLOPs.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/report/comparison_figures.hpp"

namespace pleiad::report {

namespace {

std::string axis_label(const Metric& q) { return q.better == Better::higher ? "held-out accuracy [%]" : "held-out loss [nat]"; }

std::string deviation_label(const Metric& q) { return fmt::format("sample deviation [{}]", q.unit); }

/// The last held-out quality of a configuration over its seeds, as it is shown.
Spread shown_quality(const Metric& q, const std::vector<const Run*>& runs) {
  Spread s = spread_of(values_of(q, runs));
  s.mean /= q.scale;
  s.deviation /= q.scale;
  return s;
}

constexpr double k_level = 0.05;  // training FLOPs that differ by less are one level

/// One configuration in an iso-FLOP figure.
struct IsoPoint {
  double flops = 0, x = 0;
  Spread quality;
};

/// Of points at one level with the same x the best one, by x.
std::map<double, IsoPoint> best_by_x(const std::vector<IsoPoint>& points, const std::vector<std::size_t>& level, std::size_t which, bool higher) {
  std::map<double, IsoPoint> best;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (level[i] != which) continue;
    const auto [found, fresh] = best.emplace(points[i].x, points[i]);
    const double before = found->second.quality.mean, now = points[i].quality.mean;
    if (!fresh && (higher ? now > before : now < before)) found->second = points[i];
  }
  return best;
}

std::vector<IsoPoint> iso_points(const Collection& c, double Run::*x) {
  std::vector<IsoPoint> points;
  for (const std::size_t i : rank(c).order) {
    const std::vector<const Run*> runs = runs_of(c, c.configurations[i]);
    std::vector<double> flops;
    for (const Run* run : runs) flops.push_back(run->summary.training_flops);
    IsoPoint p{spread_of(flops).mean, runs.front()->*x, shown_quality(quality_metric(all_runs(c)), runs)};
    if (p.flops > 0 && p.x > 0 && p.quality.n > 0) points.push_back(p);
  }
  return points;
}

/// Adds the curve of one level of training FLOPs; returns its name.
std::string add_level(Figure& f, Panel& panel, const Metric& q, const std::string& what, const std::map<double, IsoPoint>& curve, std::size_t line) {
  Block block{"", {what + " [1]", "mean " + axis_label(q), deviation_label(q), "training FLOPs [flop]", "seeds [1]"}};
  double total = 0;
  for (const auto& [place, p] : curve) {
    block.rows.push_back({place, p.quality.mean, p.quality.deviation, p.flops, static_cast<double>(p.quality.n)});
    total += p.flops / static_cast<double>(curve.size());
  }
  const Prefix prefix = prefix_for(total);
  const std::string name = fmt::format("{:.3g} {}flop", total / prefix.factor, prefix.name);
  block.title = "training FLOPs about " + name;
  const std::size_t at = f.add(std::move(block));
  panel.elements.push_back(fmt::format("data index {} using 1:($2-$3):(0):(2*$3) with vectors nohead lc rgb '{}' lw 1.5 notitle", at, color_of(line)));
  panel.elements.push_back(fmt::format("data index {} using 1:2 with linespoints {} title {}", at, line_style(line, 2), quote(name)));
  return name;
}

Figure iso_flop_figure(const Collection& c, const std::string& id, const std::string& what, double Run::*x) {
  Figure f{.id = id, .title = fmt::format("Iso-FLOP curves over {}", what)};
  const Metric q = quality_metric(all_runs(c));
  const std::vector<IsoPoint> points = iso_points(c, x);
  std::vector<double> flops;
  for (const IsoPoint& p : points) flops.push_back(p.flops);
  const std::vector<std::size_t> level = levels(flops, k_level);
  Panel panel{.x_label = what, .y_label = axis_label(q)};
  std::vector<std::string> labels;
  std::set<double> places;
  for (std::size_t l = 0; !level.empty() && l <= std::ranges::max(level); ++l) {
    const std::map<double, IsoPoint> curve = best_by_x(points, level, l, q.better == Better::higher);
    if (curve.size() < 2) continue;
    for (const auto& [place, p] : curve) places.insert(place);
    labels.push_back(add_level(f, panel, q, what, curve, labels.size()));
  }
  if (labels.empty()) {
    f.absent = fmt::format("No level of training FLOPs (equal within {:g} %) holds configurations that differ in {}.", 100 * k_level, what);
    return f;
  }
  f.caption = fmt::format(
      "Final {} against {} of a MoE layer; each curve joins configurations trained with the same FLOPs (forward and backward, within {:g} %). Bars: "
      "one sample standard deviation over seeds. Where several configurations have the same place, the best of them.",
      q.better == Better::higher ? "held-out accuracy" : "held-out loss", what, 100 * k_level);
  std::string tics;
  for (const double place : places) tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", place);
  f.settings = {legend_below(f, labels), "set logscale x 2", fmt::format("set xrange [{:.6g}:{:.6g}]", *places.begin() / 1.2, *places.rbegin() * 1.2),
                "set offsets 0, 0, graph 0.05, graph 0.05", places.size() <= 10 ? "set xtics (" + tics + ")" : "set xtics 2"};
  f.panels = {panel};
  return f;
}

/// Costs and qualities of the configurations that can be compared.
struct FrontData {
  std::vector<double> cost, loss;  ///< loss: what is to be small
  std::vector<std::string> labels;
  Block block;
};

FrontData front_data(const Collection& c, const Metric& q) {
  FrontData d;
  d.block = {"configurations", {"forward FLOPs per token [flop/token]", "mean " + axis_label(q), deviation_label(q), "seeds [1]"}, {}};
  for (const std::size_t i : rank(c).order) {
    const std::vector<const Run*> runs = runs_of(c, c.configurations[i]);
    std::vector<double> costs;
    for (const Run* run : runs) {
      if (run->summary.flops_per_token) costs.push_back(*run->summary.flops_per_token);
    }
    if (costs.empty()) continue;
    const Spread s = shown_quality(q, runs);
    d.cost.push_back(spread_of(costs).mean);
    d.loss.push_back(q.better == Better::higher ? -s.mean : s.mean);
    d.labels.push_back(c.configurations[i].label);
    d.block.rows.push_back({d.cost.back(), s.mean, s.deviation, static_cast<double>(s.n)});
  }
  return d;
}

}  // namespace

Figure seeds_figure(const Collection& c) {
  Figure f{.id = "final-quality", .title = "Final quality by configuration"};
  const Metric q = quality_metric(all_runs(c));
  const std::vector<std::size_t> chosen = drawn_configurations(c);
  Block means{"configurations", {"row [1]", "mean " + axis_label(q), deviation_label(q), "seeds [1]"}},
      singles{"runs", {"row [1]", axis_label(q), "seed [1]"}};
  std::string tics;
  double row = 0;
  for (auto i = chosen.rbegin(); i != chosen.rend(); ++i) {  // the first one on top
    const std::vector<const Run*> runs = runs_of(c, c.configurations[*i]);
    const Spread s = shown_quality(q, runs);
    if (s.n == 0) continue;
    means.rows.push_back({row, s.mean, s.deviation, static_cast<double>(s.n)});
    for (const Run* run : runs) {
      if (const auto x = q.value(*run)) singles.rows.push_back({row, *x / q.scale, static_cast<double>(run->seed)});
    }
    tics += fmt::format("{}{} {}", row > 0 ? ", " : "", tic_label(c.configurations[*i].label), row);
    ++row;
  }
  if (row == 0) return absent_figure(f.id, f.title, "No run has been evaluated yet.");
  f.add(means);
  f.add(singles);
  f.height = 110 + static_cast<int>(24 * row);
  f.caption =
      "Last held-out evaluation. Open circles: single runs; filled: mean over seeds, with a bar of one sample standard deviation to each side.";
  if (chosen.size() < c.configurations.size()) f.caption += choice_in_words(c);
  f.settings = {"set ytics (" + tics + ")", fmt::format("set yrange [-0.6:{}]", row - 0.4), "set offsets graph 0.05, graph 0.05, 0, 0"};
  f.panels = {{.x_label = axis_label(q),
               .y_label = "",
               .elements = {fmt::format("data index 0 using 2:1:3 with xerrorbars lc rgb '{0}' lw 1.5 pt 7 ps 0.8 notitle", color_of(0)),
                            fmt::format("data index 1 using 2:1 with points lc rgb '{}' pt 6 ps 0.8 notitle", color_of(1))}}};
  return f;
}

Figure front_figure(const Collection& c) {
  Figure f{.id = "pareto", .title = "Quality against FLOPs per token"};
  const Metric q = quality_metric(all_runs(c));
  const FrontData d = front_data(c, q);
  if (d.cost.size() < 2) {
    const std::string refusal = rank(c).refusal;
    f.absent = !refusal.empty() ? "Not drawn: " + refusal + "." : "This needs two configurations that can be compared.";
    return f;
  }
  const auto [least, most] = std::ranges::minmax(d.cost);
  const Prefix prefix = prefix_for(most);
  Panel panel{.x_label = fmt::format("forward FLOPs per token, kept assignments [{}flop/token]", prefix.name), .y_label = axis_label(q)};
  panel.elements = {
      fmt::format("data index 0 using ($1/{:g}):2:3 with yerrorbars lc rgb '#888888' lw 1 pt 6 ps 0.7 notitle", prefix.factor),
      fmt::format("data index 1 using ($1/{:g}):2 with linespoints lc rgb '{}' lw 2 dt 1 pt 7 ps 0.9 title 'Pareto front'", prefix.factor, color_of(0))};
  Block front{"Pareto front", d.block.columns};
  std::vector<std::string> entries = {"Pareto front"};
  for (const std::size_t i : pareto_front(d.cost, d.loss)) {
    front.rows.push_back(d.block.rows[i]);
    const std::string number = fmt::format("{}", front.rows.size());
    entries.push_back(number + "  " + d.labels[i]);
    panel.settings.push_back(fmt::format("set label {} at {:.10g},{:.10g} offset -0.8,{} right font ',13' front", quote(number), d.cost[i] / prefix.factor,
                                         d.block.rows[i][1], q.better == Better::higher ? 0.6 : -0.6));
    panel.elements.push_back(fmt::format("keyentry with points pt 7 ps 0.9 lc rgb '{}' title {}", color_of(0), quote(entries.back())));
  }
  f.add(d.block);
  f.add(front);
  f.settings = {legend_below(f, entries), "set offsets graph 0.07, graph 0.05, graph 0.05, graph 0.08"};
  // Models of equal cost by intent: no axis that makes a thousandth look like a difference.
  if (most < 1.05 * least) f.settings.push_back(fmt::format("set xrange [{:.6g}:{:.6g}]", 0.9 * least / prefix.factor, 1.1 * most / prefix.factor));
  if (most > 5 * least) f.settings.insert(f.settings.end(), {"set logscale x", log_tics("x", 0.5 * least / prefix.factor, 2 * most / prefix.factor)});
  f.caption =
      "Final held-out quality against the forward FLOPs of the whole model per token, counting assignments that were kept. Circles: configurations, "
      "with one sample standard deviation over seeds. The line joins those that no other one beats in both; their numbers stand below.";
  if (c.configurations.size() > d.cost.size()) f.caption += " Models that look at later tokens, and runs without an evaluation, are left out.";
  f.panels = {panel};
  return f;
}

std::vector<Figure> iso_flop_figures(const Collection& c) {
  return {iso_flop_figure(c, "iso-flop-experts", "number of experts", &Run::experts),
          iso_flop_figure(c, "iso-flop-width", "expert width", &Run::expert_width)};
}

}  // namespace pleiad::report
