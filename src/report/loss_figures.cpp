// Loss curves: mean and deviation over the seeds of each configuration.
#include <algorithm>
#include <array>
#include <cmath>

#include "pleiad/core/error.hpp"
#include "pleiad/report/comparison_figures.hpp"

namespace pleiad::report {

namespace {

constexpr i64 k_points = 200;

struct Of {
  Axis axis;
  const char *id, *what, *unit, *in_words;
};

/// The curves of a configuration's runs, and how it is called.
struct Drawn {
  std::string label;
  std::vector<RunCurves> runs;
};

Block block_of(const std::string& title, const Of& of, const std::string& y, const Band& band) {
  Block b{title, {fmt::format("{} [{}]", of.what, of.unit), "mean " + y, "sample deviation " + y}};
  for (const std::size_t i : thinned(band.x.size(), k_points)) b.rows.push_back({band.x[i], band.mean[i], band.deviation[i]});
  return b;
}

/// Smoothed training loss: means over 1/20 of the run.
Band training_band(const Drawn& d, const Of& of) {
  std::vector<Curve> curves;
  for (const RunCurves& run : d.runs) {
    Curve c{{}, run.train_loss};
    for (std::size_t i = 0; i < run.train_loss.size(); ++i) c.x.push_back(run.done(of.axis, static_cast<double>(i + 1)));
    curves.push_back(smooth(c, k_points, static_cast<i64>(run.train_loss.size()) / 20));
  }
  // A run alone needs no common grid, and keeps its own points.
  if (curves.size() == 1) return {curves[0].x, curves[0].y, std::vector<double>(curves[0].x.size(), 0.0)};
  return band_of(curves, std::min<i64>(k_points, static_cast<i64>(curves.empty() ? 0 : curves[0].x.size())), of.axis == Axis::flops);
}

/// Evaluations that all runs have, at the mean of where each run stood.
Band held_out_band(const Drawn& d, const Of& of, std::vector<double> RunCurves::*values) {
  Band band;
  if (d.runs.empty()) return band;
  for (const double step : d.runs[0].eval_step) {
    std::vector<double> x, y;
    for (const RunCurves& run : d.runs) {
      const auto found = std::ranges::find(run.eval_step, step);
      const std::size_t i = static_cast<std::size_t>(found - run.eval_step.begin());
      if (found == run.eval_step.end() || i >= (run.*values).size() || std::isnan((run.*values)[i])) continue;
      x.push_back(run.done(of.axis, step));
      y.push_back((run.*values)[i]);
    }
    if (y.size() < d.runs.size()) continue;
    const Spread s = spread_of(y);
    band.x.push_back(spread_of(x).mean);
    band.mean.push_back(s.mean);
    band.deviation.push_back(s.deviation);
  }
  return band;
}

/// Range of y that leaves out the steep beginning: held-out values after the first sixth of the way, and the last three quarters of the training loss. Its upper end is that
/// of the held-out values where there are some.
struct YRange {
  double low = INFINITY, high_held = -INFINITY, high_trained = -INFINITY;
  void take(const Band& band, double from, double& high) {
    for (std::size_t i = 0; i < band.x.size(); ++i) {
      if (band.x[i] < from || band.x[i] == 0) continue;
      low = std::min(low, band.mean[i] - band.deviation[i]);
      high = std::max(high, band.mean[i] + band.deviation[i]);
    }
  }
  std::string command() const {
    const double high = high_held > low ? high_held : high_trained;
    if (!(high > low)) return "set autoscale y";
    return fmt::format("set yrange [{:.6g}:{:.6g}]", std::max(0.0, low - 0.04 * (high - low)), high + 0.08 * (high - low));
  }
};

double last_of(const Band& band) { return band.x.empty() ? 0 : band.x.back(); }

/// Adds the elements of one configuration: band, smoothed training loss (thin), held-out points with their line.
void add_elements(Panel& p, std::size_t color, const std::string& label, const std::string& x, i64 training, i64 held_out, bool banded,
                  std::size_t points) {
  if (training >= 0 && banded) {
    p.elements.push_back(
        fmt::format("data index {} using ({}):($2-$3):($2+$3) with filledcurves fs transparent solid 0.12 noborder lc rgb '{}' notitle", training, x,
                    color_of(color)));
  }
  if (training >= 0) {
    const std::string title = held_out < 0 ? "title " + quote(label) : "notitle";
    p.elements.push_back(
        fmt::format("data index {} using ({}):2 with lines lc rgb '#90{}' lw 1 dt 1 {}", training, x, color_of(color).substr(1), title));
  }
  if (held_out >= 0) {
    if (banded)
      p.elements.push_back(
          fmt::format("data index {} using ({}):($2-$3):(0):(2*$3) with vectors nohead lc rgb '{}' lw 1.5 notitle", held_out, x, color_of(color)));
    p.elements.push_back(fmt::format("data index {} using ({}):2 with linespoints {} title {}", held_out, x, line_style(color, 2, points), quote(label)));
  }
}

Figure loss_figure(const std::vector<Drawn>& drawn, const Of& of, std::vector<double> RunCurves::*values, const std::string& y, bool with_training) {
  Figure f{.id = of.id};
  Panel panel;
  YRange range;
  double furthest = 0, nearest = INFINITY;
  std::vector<std::string> labels;
  std::vector<std::array<i64, 2>> places;
  for (const Drawn& d : drawn) {
    const Band held = held_out_band(d, of, values), trained = with_training ? training_band(d, of) : Band{};
    const double end = std::max(last_of(held), last_of(trained));
    furthest = std::max(furthest, end);
    if (end > 0) nearest = std::min(nearest, end);
    range.take(held, held.x.size() > 2 ? 0.15 * end : 0, range.high_held);
    range.take(trained, 0.25 * end, range.high_trained);
    places.push_back({-1, -1});
    if (!trained.x.empty()) places.back()[0] = static_cast<i64>(f.add(block_of(d.label + ": training, smoothed", of, y, trained)));
    if (!held.x.empty()) places.back()[1] = static_cast<i64>(f.add(block_of(d.label + ": held-out", of, y, held)));
    labels.push_back(d.label);
  }
  const Prefix prefix = prefix_for(furthest);
  const bool whole = of.axis == Axis::steps || of.axis == Axis::seconds;
  const double factor = whole ? 1 : prefix.factor;
  panel.x_label = of.axis == Axis::steps ? "training step" : fmt::format("{} [{}{}]", of.what, whole ? "" : prefix.name, of.unit);
  panel.y_label = y;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    add_elements(panel, i, labels[i], of.axis == Axis::flops ? fmt::format("$1>0 ? $1/{:g} : NaN", factor) : fmt::format("$1/{:g}", factor),
                 places[i][0], places[i][1], drawn[i].runs.size() > 1,
                 places[i][1] < 0 ? 0 : f.blocks[static_cast<std::size_t>(places[i][1])].rows.size());
  }
  f.settings = {legend_below(f, labels), range.command()};
  if (of.axis == Axis::flops && furthest > 0) {
    const double low = 0.05 * nearest / factor;
    f.settings.insert(f.settings.end(),
                      {"set logscale x", fmt::format("set xrange [{:.4g}:{:.4g}]", low, 1.1 * furthest / factor),
                       log_tics("x", low, 1.1 * furthest / factor)});
  } else {
    f.settings.push_back(fmt::format("set xrange [0:{:.6g}]", 1.02 * (furthest > 0 ? furthest : 1) / factor));
  }
  f.panels = {panel};
  if (f.blocks.empty()) f.absent = "No run has made a step or an evaluation yet.";
  return f;
}

std::vector<Drawn> read_drawn(const Collection& c) {
  std::vector<Drawn> drawn;
  for (const std::size_t i : drawn_configurations(c)) {
    drawn.push_back({c.configurations[i].label, {}});
    for (const std::size_t run : c.configurations[i].runs) drawn.back().runs.push_back(read_curves(c.runs[run].path));
  }
  return drawn;
}

}  // namespace

std::vector<std::size_t> drawn_configurations(const Collection& c) {
  std::vector<std::size_t> chosen = rank(c).order;
  for (std::size_t i = 0; i < c.configurations.size(); ++i) {
    if (std::ranges::find(chosen, i) == chosen.end()) chosen.push_back(i);
  }
  chosen.resize(std::min(chosen.size(), k_curves));
  std::ranges::sort(chosen);
  return chosen;
}

std::string choice_in_words(const Collection& c) {
  return fmt::format(" The {} {} of {} configurations.", rank(c).order.empty() ? "first" : "best", drawn_configurations(c).size(),
                     c.configurations.size());
}

std::vector<Figure> loss_figures(const Collection& c) {
  const std::vector<Drawn> drawn = read_drawn(c);
  const bool seeds = std::ranges::any_of(drawn, [](const Drawn& d) { return d.runs.size() > 1; });
  const bool labels = std::ranges::all_of(c.runs, [](const Run& run) { return run.summary.accuracy.has_value(); });
  const std::string unit = labels ? "nat/label" : "nat/token";
  std::string caption =
      "Points: held-out loss. Thin lines: training loss before the update, mean over 1/20 of the run. The steep beginning is cut off.";
  if (seeds) caption += " Where a configuration has several seeds: mean, and band and bars of one sample standard deviation to each side.";
  if (c.configurations.size() > drawn.size()) caption += choice_in_words(c);
  const std::vector<Of> all = {
      {Axis::steps, "loss-steps", "step", "1", "training steps"},
      {Axis::tokens, "loss-tokens", "training tokens", "token", "training tokens"},
      {Axis::flops, "loss-flops", "training FLOPs", "flop", "training FLOPs (forward and backward, kept assignments, multiply-add = 2)"},
      {Axis::seconds, "loss-seconds", "wall time of the steps", "s", "wall time (sum of the steps, without evaluations and checkpoints)"}};
  std::vector<Figure> figures;
  for (const Of& of : all) {
    figures.push_back(loss_figure(drawn, of, &RunCurves::eval_loss, fmt::format("loss [{}]", unit), true));
    figures.back().title = fmt::format("Loss against {}", of.what == std::string("step") ? "steps" : of.what);
    figures.back().caption = fmt::format("Loss against {}. {}", of.in_words, caption);
  }
  if (labels) {
    figures.push_back(loss_figure(drawn, {Axis::steps, "accuracy-steps", "step", "1", ""}, &RunCurves::eval_accuracy, "accuracy [1]", false));
    figures.back().title = "Accuracy against steps";
    figures.back().caption = "Share of the held-out examples whose label was the most probable one.";
  }
  return figures;
}

}  // namespace pleiad::report
