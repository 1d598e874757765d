// What the router chose: how many experts, of which width, how surely, what the capacity took away, and where in the sequence.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/run_figures.hpp"

namespace pleiad::report {

namespace {

/// The last evaluation if it has the dataset, else the mean over the last tenth of the training steps; and which of them it is.
std::vector<double> latest(const RunData& d, const std::string& name, std::string& when) {
  const std::vector<double> row = read_last_row(d.file, "/evaluation/" + name);
  if (!row.empty()) {
    when = fmt::format("the evaluation after step {:.0f}", d.eval_step.empty() ? NAN : d.eval_step.back());
    return row;
  }
  const Binned rows = read_binned(d.file, "/routing/" + name, 10);
  when = "the last tenth of the training steps";
  return rows.mean.empty() ? std::vector<double>{} : rows.mean.back();
}

Figure histogram_figure(const RunData& d) {
  Figure f{.id = d.id + "-k-histogram", .title = "Experts per token"};
  std::string when;
  const std::vector<double> row = latest(d, "k_histogram", when);
  if (row.empty()) return absent_figure(f.id, f.title, "The run has made no step and no evaluation yet.");
  const std::size_t layers = d.blocks.size(), bins = row.size() / layers, shown = d.layers.size();
  Block b{"share of tokens", {"K [1]"}};
  std::size_t last = 1;
  for (const std::size_t l : d.layers) b.columns.push_back(d.layer_name(l) + " [%]");
  for (std::size_t k = 0; k < bins; ++k) {
    b.rows.push_back({static_cast<double>(k)});
    for (const std::size_t l : d.layers) {
      const std::span<const double> layer = std::span(row).subspan(l * bins, bins);
      const double all = std::accumulate(layer.begin(), layer.end(), 0.0);
      b.rows.back().push_back(all > 0 ? 100 * layer[k] / all : 0);
      if (layer[k] > 0) last = std::max(last, k);
    }
  }
  b.rows.resize(std::min(bins, last + 2));
  f.add(std::move(b));
  Panel p{.x_label = "experts kept per token, K", .y_label = "tokens [%]"};
  const std::string router = d.run.value("moe.router");
  const bool open_end = last + 1 == bins && (d.run.experts > static_cast<double>(last) || router == "peer" || router == "pkm");
  const double width = 0.8 / static_cast<double>(shown);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < shown; ++i) {
    names.push_back(d.layer_name(d.layers[i]));
    p.elements.push_back(fmt::format("data index 0 using ($1+{:.4f}):{}:({:.4f}) with boxes fs solid 1 border lc rgb '#ffffff' fc rgb '{}' title {}",
                                     (static_cast<double>(i) + 0.5) * width - 0.4, i + 2, width, ordered_color(i, shown + 1), quote(names.back())));
  }
  p.settings = {"set yrange [0:*]", fmt::format("set xrange [-0.6:{}.6]", std::min(bins, last + 2) - 1),
                fmt::format("set xtics 0,{:g}", std::max(1.0, nice_step(static_cast<double>(last + 1), 16))), "unset grid", "set grid y"};
  f.settings = {legend_below(f, names)};
  f.panels = {p};
  f.caption = fmt::format("Share of the tokens by their number of kept experts, in {}.{}{}", when,
                          open_end ? fmt::format(" K = {} stands for that or more.", bins - 1) : "", d.layers_note());
  return f;
}

constexpr std::size_t k_width_classes = 10;

/// Shares of consecutive widths added up to at most ten classes; names of the classes.
struct WidthClasses {
  std::vector<std::string> names;
  std::vector<std::size_t> of;  // class of each width
  explicit WidthClasses(const std::vector<double>& widths) {
    const std::size_t n = widths.size(), classes = std::min(n, k_width_classes);
    for (std::size_t c = 0; c < classes; ++c) {
      const std::size_t first = c * n / classes, last = (c + 1) * n / classes - 1;
      names.push_back(first == last ? fmt::format("{:.0f}", widths[first]) : fmt::format("{:.0f} to {:.0f}", widths[first], widths[last]));
      of.resize(last + 1, c);
    }
  }
};

Figure width_figure(const RunData& d) {
  Figure f{.id = d.id + "-width-share", .title = "Share by width of the expert"};
  const std::vector<double> widths = d.file.exists("/layers/widths") ? d.file.read<double>("/layers/widths") : std::vector<double>{};
  if (widths.empty()) return absent_figure(f.id, f.title, "The experts of this run have no widths to tell apart.");
  if (widths.size() == 1) return absent_figure(f.id, f.title, fmt::format("All experts have the same width, {:.0f}.", widths[0]));
  const WidthClasses classes(widths);
  const std::size_t n = classes.names.size();
  for (const bool flops : {false, true}) {
    const Binned rows = read_binned(d.file, flops ? "/routing/width_flops_share" : "/routing/width_share", 100);
    for (const std::size_t layer : d.layers) {
      if (rows.mean.empty()) continue;
      Block b{fmt::format("{}, share of the {}, summed up", d.layer_name(layer), flops ? "FLOPs" : "kept assignments"), {"step [1]"}};
      for (const std::string& name : classes.names) b.columns.push_back("width " + name + " [%]");
      for (std::size_t i = 0; i < rows.mean.size(); ++i) {
        b.rows.emplace_back(n + 1);
        b.rows.back()[0] = rows.step[i];
        for (std::size_t w = 0; w < widths.size(); ++w) b.rows.back()[classes.of[w] + 1] += 100 * rows.mean[i][layer * widths.size() + w];
        std::partial_sum(b.rows.back().begin() + 1, b.rows.back().end(), b.rows.back().begin() + 1);
      }
      const std::size_t at = f.add(std::move(b));
      Panel p{.title = d.layer_name(layer) + (flops ? ", FLOPs" : ", tokens"), .y_label = "share [%]"};
      set_lines(p, rows.step.back());
      p.settings.push_back("set yrange [0:100]");
      for (std::size_t c = n; c-- > 0;) {  // from the highest down, so that each covers the rest of the one before
        p.elements.push_back(fmt::format("data index {} using 1:{} with filledcurves y1=0 fs solid 1 noborder fc rgb '{}' title {}", at, c + 2,
                                         ordered_color(c, n), quote(classes.names[c])));
      }
      f.panels.push_back(std::move(p));
    }
  }
  if (f.panels.empty()) return absent_figure(f.id, f.title, "The run has made no step yet.");
  lay_out_panels(f);
  f.legend.assign(classes.names.rbegin(), classes.names.rend());
  f.caption =
      "Share of the kept assignments, and of the experts' FLOPs, that goes to experts of each hidden width, in training; means over 1/100 of the "
      "run." +
      d.layers_note();
  return f;
}

Figure entropy_figure(const RunData& d) {
  Figure f{.id = d.id + "-entropy", .title = "Entropy of the router"};
  Panel p{.y_label = "entropy [nat]"};
  const std::vector<double> last = read_last_row(d.file, d.eval_step.empty() ? "/routing/entropy" : "/evaluation/entropy");
  if (!last.empty() && std::ranges::all_of(last, [](double x) { return x == 0; })) {
    return absent_figure(f.id, f.title, "This router has no probabilities over all experts, so there is no entropy.");
  }
  if (!add_layer_lines(d, f, p, "entropy")) return absent_figure(f.id, f.title, "The run has made no step and no evaluation yet.");
  f.panels = {p};
  f.caption = fmt::format(
      "Mean over tokens of -sum p ln p of the router's probabilities; ln N = {:.2f} nat if all {:.0f} experts were equally probable. Thin lines: "
      "training, points: held-out.{}",
      std::log(d.run.experts), d.run.experts, d.layers_note());
  return f;
}

/// Sums over the run of a dataset with one count per layer.
double total(const RunData& d, const std::string& name) {
  const std::vector<double> sums = read_sum(d.file, "/routing/" + name);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

Figure drops_figure(const RunData& d) {
  Figure f{.id = d.id + "-drops", .title = "Drops"};
  if (!d.file.exists("/routing/dropped")) return absent_figure(f.id, f.title, "The record does not say what was dropped.");
  std::vector<std::array<std::string, 2>> kinds;
  for (const auto& [name, title] : std::vector<std::array<std::string, 2>>{{"dropped", "entries over the capacity"},
                                                                           {"dropped_first_choices", "first choices among them"},
                                                                           {"tokens_emptied", "tokens left without an expert"},
                                                                           {"tokens_unchosen", "tokens that no expert chose"}}) {
    if (d.file.exists("/routing/" + name) && total(d, name) > 0) kinds.push_back({name, title});
  }
  if (kinds.empty()) return absent_figure(f.id, f.title, "Nothing was dropped in training: no capacity was exceeded, and every token had an expert.");
  const Binned tokens = read_binned(d.file, "/steps/tokens", 100), padding = read_binned(d.file, "/steps/padding_tokens", 100);
  for (const auto& [name, title] : kinds) {
    const Binned rows = read_binned(d.file, "/routing/" + name, 100);
    Block b{title + ", per token", {"step [1]"}};
    for (const std::size_t l : d.layers) b.columns.push_back(d.layer_name(l) + " [%]");
    for (std::size_t i = 0; i < rows.mean.size(); ++i) {
      b.rows.push_back({rows.step[i]});
      const double real = tokens.mean[i][0] - (padding.mean.empty() || std::isnan(padding.mean[i][0]) ? 0 : padding.mean[i][0]);
      for (const std::size_t l : d.layers) b.rows.back().push_back(100 * rows.mean[i][l] / real);
    }
    const std::size_t at = f.add(std::move(b));
    Panel p{.title = title, .y_label = (kinds.size() > 1 ? "" : title + ", ") + "per 100 tokens [1]"};
    set_lines(p, rows.step.empty() ? 1 : rows.step.back());
    p.settings.push_back("set yrange [0:*]");
    for (std::size_t i = 0; i < d.layers.size(); ++i) {
      p.elements.push_back(fmt::format("data index {} using 1:{} with lines lc rgb '{}' lw 2 dt {} title {}", at, i + 2, color_of(i), i % 4 + 1,
                                       quote(d.layer_name(d.layers[i]))));
    }
    f.panels.push_back(std::move(p));
  }
  lay_out_panels(f);
  f.legend = d.layer_names();
  f.caption =
      "Per 100 tokens of the training batch: assignments that the capacity removed, those of them that were a token's first choice, tokens it left "
      "without any expert, and tokens that no expert chose; what never happened is left out. Means over 1/100 of the run." +
      d.layers_note();
  return f;
}

/// A row [layers, places] as lines over the position; false if it is missing or has no value.
bool add_position_lines(const RunData& d, Figure& f, Panel& p, const std::string& name, std::string& when) {
  const std::vector<double> row = latest(d, name, when);
  const std::size_t layers = d.blocks.size(), places = row.size() / std::max<std::size_t>(1, layers);
  if (row.empty() || std::ranges::none_of(row, [](double x) { return std::isfinite(x); })) return false;
  const double length = std::max(1.0, std::strtod(d.run.value("model.seq_len").c_str(), nullptr));
  Block b{name, {"position [token]"}};
  for (const std::size_t l : d.layers) b.columns.push_back(d.layer_name(l));
  for (std::size_t i = 0; i < places; ++i) {
    b.rows.push_back({(static_cast<double>(i) + 0.5) * length / static_cast<double>(places)});
    for (const std::size_t l : d.layers) b.rows.back().push_back(row[l * places + i]);
  }
  const std::size_t at = f.add(std::move(b));
  for (std::size_t i = 0; i < d.layers.size(); ++i) {
    p.elements.push_back(
        fmt::format("data index {} using 1:{} with linespoints {} title {}", at, i + 2, line_style(i, 2), quote(d.layer_name(d.layers[i]))));
  }
  const auto [least, most] = std::ranges::minmax(row);
  p.x_label = "position in the sequence [token]";
  p.settings = {fmt::format("set xrange [0:{:g}]", length), least < most ? "set autoscale y" : "set yrange [0:*]",
                "set offsets 0, 0, graph 0.05, graph 0.05"};
  f.legend = d.layer_names();
  return true;
}

Figure position_figure(const RunData& d) {
  Figure f{.id = d.id + "-position", .title = "Importance and number of experts against position"};
  std::string when;
  Panel importance{.title = "importance", .y_label = "mean importance [1]"}, k{.title = "experts per token", .y_label = "mean K [1]"};
  const bool has_importance = add_position_lines(d, f, importance, "importance_by_position", when);
  if (has_importance) f.panels.push_back(importance);
  if (add_position_lines(d, f, k, "k_by_position", when)) f.panels.push_back(k);
  if (f.panels.empty()) return absent_figure(f.id, f.title, "The run has made no step and no evaluation yet.");
  lay_out_panels(f);
  f.caption = fmt::format("Mean over tokens by their place in the sequence, in {}.{}{}", when,
                          has_importance ? "" : " This router has no importance of tokens: it is not driven by attention.", d.layers_note());
  return f;
}

}  // namespace

std::vector<Figure> choice_figures(const RunData& d) {
  return {histogram_figure(d), width_figure(d), entropy_figure(d), drops_figure(d), position_figure(d)};
}

}  // namespace pleiad::report
