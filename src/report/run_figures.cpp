#include "pleiad/report/run_figures.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_layers = 8;
constexpr i64 k_line_points = 100;
constexpr std::size_t k_points = 200;

RunData open_data(const Run& run, const io::H5File& file, const std::string& id) {
  RunData d{run, file, id, {}, {}, {}};
  if (file.exists("/layers/block")) d.blocks = file.read<i64>("/layers/block");
  const std::size_t n = d.blocks.size(), shown = std::min(n, k_layers);
  for (std::size_t i = 0; i < shown; ++i) d.layers.push_back(shown > 1 ? i * (n - 1) / (shown - 1) : 0);
  for (const auto& row : read_all_rows(file, "/evaluation/step")) d.eval_step.push_back(row[0]);
  return d;
}

/// Name of a column; numbers that count something have the unit 1.
std::string with_unit(const std::string& name) { return name.find('[') == std::string::npos ? name + " [1]" : name; }

bool has_value(const std::vector<std::vector<double>>& rows) {
  return std::ranges::any_of(rows, [](const auto& row) { return std::ranges::any_of(row, [](double x) { return std::isfinite(x); }); });
}

}  // namespace

std::string RunData::layer_name(std::size_t layer) const { return fmt::format("block {}", blocks[layer]); }

std::string RunData::layers_note() const {
  return layers.size() < blocks.size() ? fmt::format(" {} of {} MoE layers, evenly chosen.", layers.size(), blocks.size()) : "";
}

std::vector<Figure> run_figures(const Run& run, const std::string& id) {
  const io::H5File file = io::open_run(run.path);
  const RunData data = open_data(run, file, id);
  std::vector<Figure> figures;
  const auto add = [&](std::vector<Figure> more) {
    figures.insert(figures.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  if (data.blocks.empty()) {
    add({absent_figure(id + "-experts", "Load, choices and alignment of experts", "This run has no experts: nothing was routed.")});
  } else {
    add(load_figures(data));
    add(choice_figures(data));
    add(alignment_figures(data));
  }
  add(cost_figures(data));
  return figures;
}

void set_lines(Panel& p, double last_step) {
  p.x_label = "training step";
  p.settings = {"set autoscale y", "set offsets 0, 0, graph 0.05, graph 0.05"};
  for (std::string& command : step_axis(last_step)) p.settings.push_back(std::move(command));
}

std::vector<std::string> RunData::layer_names() const {
  std::vector<std::string> names;
  for (const std::size_t l : layers) names.push_back(layer_name(l));
  return names;
}

bool add_layer_lines(const RunData& d, Figure& f, Panel& p, const std::string& name, double scale) {
  f.legend = d.layer_names();
  const Binned trained = read_binned(d.file, "/routing/" + name, k_line_points);
  const std::vector<std::vector<double>> held = read_all_rows(d.file, "/evaluation/" + name);
  const bool has_training = has_value(trained.mean), has_held_out = has_value(held);
  if (!has_training && !has_held_out) return false;
  std::vector<std::string> columns = {"step [1]"};
  for (const std::size_t l : d.layers) columns.push_back(d.layer_name(l));
  const auto block = [&](const std::string& title, const std::vector<double>& steps, const std::vector<std::vector<double>>& rows) {
    Block b{title, columns};
    for (const std::size_t i : thinned(std::min(steps.size(), rows.size()), k_points)) {
      b.rows.push_back({steps[i]});
      for (const std::size_t l : d.layers) b.rows.back().push_back(rows[i][l]);
    }
    return f.add(b);
  };
  const std::size_t training = has_training ? block(name + ", training, mean over the steps around", trained.step, trained.mean) : 0;
  const std::size_t held_out = has_held_out ? block(name + ", held-out", d.eval_step, held) : 0;
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    const std::string title = "title " + quote(d.layer_name(d.layers[i])), y = fmt::format("(${}*{:g})", i + 2, scale);
    if (has_training)
      p.elements.push_back(
          fmt::format("data index {} using 1:{} with lines lc rgb '{}' lw 1 dt 1 {}", training, y, color_of(i), has_held_out ? "notitle" : title));
    if (has_held_out) p.elements.push_back(fmt::format("data index {} using 1:{} with linespoints {} {}", held_out, y, line_style(i, 2, std::min(held.size(), k_points)), title));
  }
  const double last = std::max(has_training ? trained.step.back() : 0, has_held_out && !d.eval_step.empty() ? d.eval_step.back() : 0);
  set_lines(p, last);
  return true;
}

void add_heat_map(Figure& f, const HeatMap& map, std::vector<std::string> settings) {
  Block b{map.title.empty() ? map.value_label : map.title, {with_unit(map.x_label), with_unit(map.y_label), with_unit(map.value_label)}};
  const auto half = [](const std::vector<double>& at) { return at.size() > 1 ? (at[1] - at[0]) / 2 : 0.5; };
  const double dx = half(map.x), dy = half(map.y);
  // An image needs two rows and two columns: a lone one is drawn as two halves of it.
  const auto places = [](const std::vector<double>& at, std::size_t i) {
    return at.size() > 1 ? std::vector<double>{at[i]} : std::vector<double>{at[i] - 0.25, at[i] + 0.25};
  };
  for (std::size_t r = 0; r < map.y.size(); ++r) {
    for (const double y : places(map.y, r)) {
      for (std::size_t c = 0; c < map.x.size(); ++c) {
        for (const double x : places(map.x, c)) b.rows.push_back({x, y, map.value[r][c]});
      }
    }
  }
  Panel p{.title = map.title, .x_label = map.x_label, .y_label = map.y_label, .settings = std::move(settings)};
  p.settings.insert(p.settings.begin(), {heat_palette(), "unset grid", map.title.empty() ? "set tmargin 1" : "set tmargin 2", "set border 15",
                                         fmt::format("set cbrange [0:{:.6g}]", map.top), "set cblabel " + quote(map.value_label),
                                         fmt::format("set xrange [{:.8g}:{:.8g}]", map.x.front() - dx, map.x.back() + dx),
                                         map.downward ? fmt::format("set yrange [{:.8g}:{:.8g}]", map.y.back() + dy, map.y.front() - dy)
                                                      : fmt::format("set yrange [{:.8g}:{:.8g}]", map.y.front() - dy, map.y.back() + dy)});
  const std::size_t at = f.add(std::move(b));
  p.elements = {fmt::format("data index {} using 1:2:($3/{:g}) with image notitle", at, map.scale)};
  if (map.numbers) {
    // Dark text on the light end of the colours, light text on the dark one.
    for (const bool light : {false, true}) {
      p.elements.push_back(
          fmt::format("data index {} using 1:2:($3/{:g} {} {:g} ? sprintf('%.3g', $3/{:g}) : '') with labels font ',12' tc rgb '{}' notitle", at,
                      map.scale, light ? "<=" : ">", 0.6 * map.top, map.scale, light ? "#ffffff" : "#000000"));
    }
  }
  f.panels.push_back(std::move(p));
}

double color_top(const std::vector<HeatMap>& maps) {
  std::vector<double> all;
  for (const HeatMap& m : maps) {
    for (const auto& row : m.value) std::ranges::copy_if(row, std::back_inserter(all), [](double x) { return std::isfinite(x); });
  }
  if (all.empty()) return 2;
  std::ranges::sort(all);
  const double most_places = all[static_cast<std::size_t>(0.99 * static_cast<double>(all.size() - 1))];
  return std::max(2.0, std::min(all.back(), 1.2 * most_places));
}

void lay_out_panels(Figure& f) {
  const int panels = static_cast<int>(f.panels.size());
  f.panel_columns = panels > 4 ? 4 : panels > 1 ? 2 : 1;
  if (panels > 4) f.width = k_wide;
  f.height = panels > 1 ? 25 + 280 * ((panels + f.panel_columns - 1) / f.panel_columns) : 380;
}

ExpertGroups::ExpertGroups(i64 n) : experts(n), size((n + 63) / 64) {}

std::vector<double> ExpertGroups::centres() const {
  std::vector<double> at;
  // The last group may be smaller; its row is as high as the others.
  for (i64 g = 0; g < count(); ++g) at.push_back(static_cast<double>(g * size) + static_cast<double>(size - 1) / 2);
  return at;
}

std::vector<double> ExpertGroups::means(std::span<const double> of_experts) const {
  std::vector<double> result;
  for (i64 first = 0; first < experts; first += size) {
    const auto group = of_experts.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(std::min(size, experts - first)));
    result.push_back(std::accumulate(group.begin(), group.end(), 0.0) / static_cast<double>(group.size()));
  }
  return result;
}

std::string ExpertGroups::label() const { return size > 1 ? fmt::format("expert (groups of {})", size) : "expert"; }

}  // namespace pleiad::report
