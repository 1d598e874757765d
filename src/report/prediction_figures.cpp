// Figures of predicted steps: scaling, where the time goes, load of the ranks.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/predictions.hpp"
#include "pleiad/report/statistics.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_curves = 8, k_ranks_shown = 200, k_bars = 64;

using sim::Prediction;

/// By number of ranks, ascending.
std::vector<const Prediction*> by_ranks(const PredictedSteps& file) {
  std::vector<const Prediction*> all;
  for (const Prediction& p : file.record.predictions) all.push_back(&p);
  std::ranges::stable_sort(all, {}, &Prediction::ranks);
  return all;
}

/// Seconds of a step that is as fast for each token and rank as that of the fewest ranks.
double ideal_seconds(const Prediction& fewest, const Prediction& p) {
  return fewest.seconds * static_cast<double>(p.tokens) / static_cast<double>(fewest.tokens) * static_cast<double>(fewest.ranks) / static_cast<double>(p.ranks);
}

std::string scalings_in_words(const std::vector<PredictedSteps>& files) {
  std::string words;
  for (const PredictedSteps& f : files) words += fmt::format(" {}: {}.", f.name, f.scaling());
  return words;
}

/// One line for each file over its numbers of ranks; `rows` [2 or 3] of a prediction: ranks, what is drawn, and perhaps a broken line beside it.
template <class Rows>
void add_lines(Figure& f, const std::vector<PredictedSteps>& files, const std::vector<std::string>& columns, Rows rows) {
  Panel panel{.x_label = "ranks", .y_label = columns[1]};
  std::vector<std::string> entries;
  for (const PredictedSteps& file : files) {
    const std::vector<const Prediction*> all = by_ranks(file);
    Block b{file.name, columns};
    for (const Prediction* p : all) b.rows.push_back(rows(*all.front(), *p));
    const std::size_t line = entries.size(), at = f.add(std::move(b));
    panel.elements.push_back(fmt::format("data index {} using 1:2 with linespoints {} title {}", at, line_style(line, 2), quote(file.name)));
    if (columns.size() > 2) panel.elements.push_back(fmt::format("data index {} using 1:3 with lines lc rgb '{}' lw 1 dt 3 notitle", at, color_of(line)));
    entries.push_back(file.name);
  }
  f.settings = {legend_below(f, entries), "set logscale x 2", "set xtics 2", "set offsets graph 0.05, graph 0.05, 0, 0"};
  f.panels = {std::move(panel)};
}

/// The values of the ranks, the largest first, for each number of ranks (k_curves at most); `of`: those of a prediction, empty if it has none.
template <class Of>
Figure spread_figure(const PredictedSteps& file, Figure f, const std::string& y_label, Of of) {
  std::vector<const Prediction*> several;
  for (const Prediction* p : by_ranks(file)) {
    if (p->ranks > 1 && !of(*p).empty()) several.push_back(p);
  }
  if (several.empty()) {
    f.absent = "There is nothing to share out: one rank, or no experts.";
    return f;
  }
  Panel panel{.x_label = "ranks, the largest first [%]", .y_label = y_label};
  std::vector<std::string> entries;
  const std::vector<std::size_t> drawn = thinned(several.size(), k_curves);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const Prediction& p = *several[drawn[i]];
    std::vector<double> values = of(p);
    std::ranges::sort(values, std::greater<>());
    Block b{fmt::format("{} ranks", p.ranks), {panel.x_label, y_label}};
    for (const std::size_t r : thinned(values.size(), k_ranks_shown)) b.rows.push_back({100 * static_cast<double>(r) / static_cast<double>(values.size() - 1), values[r]});
    const std::size_t at = f.add(std::move(b));
    panel.elements.push_back(fmt::format("data index {} using 1:2 with lines lc rgb '{}' lw 2 title {}", at, ordered_color(i, drawn.size()), quote(fmt::format("{} ranks", p.ranks))));
    entries.push_back(fmt::format("{} ranks", p.ranks));
  }
  f.settings = {legend_below(f, entries), "set xrange [0:100]", "set yrange [0:*]"};
  f.panels = {std::move(panel)};
  return f;
}

std::vector<std::string> all_phases() {
  std::vector<std::string> names;
  for (int p = 0; p < k_phase_count; ++p) names.emplace_back(phase_name(static_cast<Phase>(p)));
  return names;
}

Figure path_figure(const PredictedSteps& file, const std::string& id) {
  Figure f{.id = id + "-path", .title = "Critical path"};
  PhaseBars bars{.title = "share of the step", .x_label = "ranks", .y_label = "share of the step [%]", .unit = "%", .phases = all_phases()};
  for (const Prediction* p : by_ranks(file)) {
    bars.places.push_back(static_cast<double>(p->ranks));
    bars.values.push_back(p->path_seconds);
    for (double& s : bars.values.back()) s *= 100 / p->seconds;
  }
  add_phase_bars(f, bars);
  f.caption = "What the rank did that came last to each meeting, back to the beginning of the step: whoever makes a step faster begins there. Without waits.";
  return f;
}

Figure ranks_figure(const PredictedSteps& file, const std::string& id) {
  const Prediction& p = *by_ranks(file).back();
  Figure f{.id = id + "-phases", .title = fmt::format("Time per phase and rank, {} rank{}", p.ranks, p.ranks == 1 ? "" : "s")};
  PhaseBars bars{.title = "time per step", .x_label = "rank", .y_label = "time per step [ms]", .unit = "ms", .phases = all_phases()};
  const i64 step = (p.ranks + static_cast<i64>(k_bars) - 1) / static_cast<i64>(k_bars);
  for (i64 r = 0; r < p.ranks; r += step) {
    bars.places.push_back(static_cast<double>(r));
    const auto begin = p.phase_seconds.begin() + static_cast<std::ptrdiff_t>(r * k_phase_count);
    bars.values.emplace_back(begin, begin + k_phase_count);
    for (double& s : bars.values.back()) s *= 1e3;
  }
  add_phase_bars(f, bars);
  f.caption = fmt::format("Waits for others are in the phase in which a rank waits, most of them in plan and exchange.{}", step > 1 ? fmt::format(" Every {}th of {} ranks.", step, p.ranks) : "");
  return f;
}

std::vector<double> rows_over_mean(const Prediction& p) {
  if (p.expert_rows.empty()) return {};
  std::vector<double> rows(static_cast<std::size_t>(p.ranks), 0.0);
  for (std::size_t i = 0; i < p.expert_rows.size(); ++i) rows[i % rows.size()] += p.expert_rows[i];
  const double mean = std::accumulate(rows.begin(), rows.end(), 0.0) / static_cast<double>(rows.size());
  if (!(mean > 0)) return {};
  for (double& r : rows) r /= mean;
  return rows;
}

std::vector<double> busy_shares(const Prediction& p) {
  std::vector<double> busy;
  for (const double wait : p.wait_seconds) busy.push_back(100 * (1 - wait / p.seconds));
  return busy;
}

}  // namespace

std::vector<Figure> scaling_figures(const std::vector<PredictedSteps>& files) {
  Figure time{.id = "scaling-time", .title = "Step time"}, speed{.id = "scaling-speed", .title = "Scaling efficiency"}, computing{.id = "scaling-computing", .title = "Computation in the step"};
  if (std::ranges::all_of(files, [](const PredictedSteps& f) { return f.record.predictions.size() < 2; })) {
    for (Figure* f : {&time, &speed, &computing}) f->absent = "Each file has one number of ranks: simulate --ranks N,N,... predicts several.";
    return {time, speed, computing};
  }
  const std::string words = scalings_in_words(files);
  add_lines(time, files, {"ranks [1]", "step time [ms]", "ideal step time [ms]"}, [](const Prediction& fewest, const Prediction& p) {
    return std::vector<double>{static_cast<double>(p.ranks), 1e3 * p.seconds, 1e3 * ideal_seconds(fewest, p)};
  });
  time.settings.emplace_back("set logscale y");
  time.caption = "Broken: as fast for each token and rank as the fewest ranks." + words;
  add_lines(speed, files, {"ranks [1]", "scaling efficiency [%]"}, [](const Prediction& fewest, const Prediction& p) {
    return std::vector<double>{static_cast<double>(p.ranks), 100 * ideal_seconds(fewest, p) / p.seconds};
  });
  speed.caption = "Tokens per second and rank, over those of the fewest ranks." + words;
  add_lines(computing, files, {"ranks [1]", "efficiency [%]"}, [](const Prediction&, const Prediction& p) { return std::vector<double>{static_cast<double>(p.ranks), 100 * p.efficiency()}; });
  computing.caption = "Computation alone, shared out evenly among ranks that nothing slows down, over the step: what is missing are waits and travels." + words;
  for (Figure* f : {&speed, &computing}) f->settings.emplace_back("set yrange [0:*]");
  return {std::move(time), std::move(speed), std::move(computing)};
}

std::vector<Figure> prediction_figures(const PredictedSteps& file, const std::string& id) {
  Figure rows{.id = id + "-rows", .title = "Rows of the experts of a rank"}, busy{.id = id + "-busy", .title = "Ranks that do not wait"};
  rows.caption = "Rows that the experts of each rank get in all layers, forward, over their mean: 1 is even.";
  busy.caption = "Share of the step in which a rank computes, sends or gets, and does not wait for others.";
  std::vector<Figure> figures = {path_figure(file, id), ranks_figure(file, id), spread_figure(file, std::move(rows), "rows over their mean [1]", rows_over_mean),
                                 spread_figure(file, std::move(busy), "share of the step [%]", busy_shares)};
  for (Figure& f : figures) f.subject = file.name;
  return figures;
}

}  // namespace pleiad::report
