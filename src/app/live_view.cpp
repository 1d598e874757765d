#include "pleiad/app/live_view.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "pleiad/app/terminal.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::app {

namespace {

// Height 0 to 8 of a character; plain ASCII has four steps.
const char* const k_blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
const char* const k_plain[] = {" ", ".", ".", ":", ":", "|", "|", "#", "#"};

const char* block(i64 eighths, bool unicode) {
  // Not (unicode ? a : b)[i]: GCC 12 makes wrong code of that with arrays.
  const i64 i = std::clamp<i64>(eighths, 0, 8);
  return unicode ? k_blocks[i] : k_plain[i];
}

/// Means of neighbours; nothing is stretched. A mean over nothing but gaps is a gap.
std::vector<double> squeezed(const std::vector<double>& values, i64 columns) {
  const i64 n = static_cast<i64>(values.size());
  if (n <= columns) return values;
  std::vector<double> out;
  for (i64 c = 0; c < columns; ++c) {
    double sum = 0, count = 0;
    for (i64 i = c * n / columns; i < (c + 1) * n / columns; ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      ++count;
    }
    out.push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
  }
  return out;
}

std::string cut(const std::string& line, i64 width) { return line.substr(0, static_cast<std::size_t>(std::max<i64>(width, 1))); }

std::string number(double x, const char* format) { return std::isfinite(x) ? fmt::format(fmt::runtime(format), x) : "-"; }

std::string eta_of(const io::LiveStatus& s) { return s.step > s.first_step && std::isfinite(s.eta_seconds()) ? duration(s.eta_seconds()) : "-"; }

/// Pieces one after the other, on as many lines as they need.
std::vector<std::string> wrapped(const std::vector<std::string>& pieces, const std::string& first, i64 width) {
  std::vector<std::string> lines{first};
  const std::string indent(first.size(), ' ');
  for (const std::string& piece : pieces) {
    const bool fresh = lines.back().size() == first.size();
    if (!fresh && static_cast<i64>(lines.back().size() + 3 + piece.size()) > width) lines.push_back(indent);
    if (lines.back().size() > first.size()) lines.back() += "   ";
    lines.back() = cut(lines.back() + piece, width);
  }
  return lines;
}

std::vector<std::string> header(const io::LiveStatus& s, const std::string& run, const ViewOptions& o) {
  const double share = s.steps > 0 ? 100.0 * static_cast<double>(s.step) / static_cast<double>(s.steps) : 100;
  std::vector<std::string> pieces = {fmt::format("{}: {}", harmless(run), harmless(s.state)), fmt::format("step {}/{} ({:.1f} %)", s.step, s.steps, share),
                                     fmt::format("loss {}", number(s.loss, "{:.4f}"))};
  if (s.evaluated) pieces.push_back(fmt::format("held-out {} at step {}", number(s.evaluation_loss, "{:.4f}"), *s.evaluated));
  if (s.above_floor) pieces.push_back(fmt::format("{} above the floor", number(*s.above_floor, "{:.4f}")));
  pieces.push_back(fmt::format("learning rate {}", number(s.learning_rate, "{:.3g}")));
  pieces.push_back(fmt::format("{} tokens/s", number(s.tokens_per_second, "{:.0f}")));
  pieces.push_back(fmt::format("{} s/step", number(s.seconds_per_step, "{:.3g}")));
  if (s.state == "running") pieces.push_back("ETA " + eta_of(s));
  pieces.push_back(fmt::format("{} rank{} on {}", s.ranks, s.ranks == 1 ? "" : "s", harmless(s.host)));
  if (!s.job.empty()) pieces.push_back("job " + harmless(s.job));
  pieces.push_back(fmt::format("status {} old", duration(std::max(0.0, o.silence))));
  std::vector<std::string> lines = wrapped(pieces, "", o.width);
  if (is_silent(s, o.silence)) lines.push_back(fmt::format("no sign of life for {}", duration(o.silence)));
  return lines;
}

std::vector<std::string> loss_curve(const io::LiveStatus& s, const ViewOptions& o) {
  std::vector<double> finite;
  for (const double x : s.history_loss) {
    if (std::isfinite(x)) finite.push_back(x);
  }
  if (finite.size() < 2) return {};
  const auto [least, most] = std::ranges::minmax(finite);
  constexpr i64 rows = 6, label = 9;
  const i64 room = o.width - label - 1, stretch = std::max<i64>(1, room / static_cast<i64>(s.history_loss.size()));
  std::vector<double> values;  // a short run fills the width too
  for (const double x : s.history_loss) values.insert(values.end(), static_cast<std::size_t>(stretch), x);
  std::vector<std::string> lines = curve(values, room, rows, o.unicode);
  for (i64 r = 0; r < rows; ++r) {
    const std::string value = r == 0 ? fmt::format("{:.3f}", most) : r == rows - 1 ? fmt::format("{:.3f}", least) : "";
    lines[r] = fmt::format("{:>{}} ", value, label) + lines[r];
  }
  lines.insert(lines.begin(), fmt::format("loss, steps 1 to {}", s.history_step.back()));
  return lines;
}

std::vector<std::string> loads(const io::LiveStatus& s, const ViewOptions& o) {
  if (s.layers.empty()) return {};
  double full = 2;
  for (const auto& layer : s.layers) {
    for (const double x : layer.load) full = std::max(full, std::isfinite(x) ? x : 0);
  }
  constexpr i64 block_width = 6, figures_width = 50;
  const i64 room = std::max<i64>(8, o.width - block_width - figures_width);
  std::vector<std::string> lines;
  lines.push_back(cut(fmt::format("{:>5} {:>6}{:>7}{:>7}{:>7}{:>7}{:>6}{:>9}  load (full: {:.1f})", "block", "min", "max", "imbal.", "flops", "entr.", "K", "dropped", full), o.width));
  for (const auto& layer : s.layers) {
    const auto [least, most] = layer.load.empty() ? std::ranges::min_max_result<double>{0, 0} : std::ranges::minmax(layer.load);
    const std::string figures = fmt::format("{:>5} {:>6.2f}{:>7.2f}{:>7.2f}{:>7.2f}{:>7.2f}{:>6.2f}{:>7.1f} %  ", layer.block, least, most, layer.imbalance,
                                            layer.flops_imbalance, layer.entropy, layer.mean_k, 100 * layer.dropped_share);
    lines.push_back(cut(figures, o.width));
    if (const i64 left = o.width - static_cast<i64>(figures.size()); left > 0) lines.back() += bars(layer.load, full, std::min(room, left), o.unicode);
  }
  return lines;
}

std::vector<std::string> phases(const io::LiveStatus& s, const ViewOptions& o) {
  std::vector<std::pair<double, std::string>> all;
  double sum = 0;
  for (const auto& [name, seconds] : s.phase_seconds) {
    if (!std::isfinite(seconds)) continue;
    sum += seconds;
    all.emplace_back(seconds, harmless(name));
  }
  if (sum <= 0) return {};
  std::ranges::sort(all, std::greater<>());
  std::vector<std::string> pieces;
  for (const auto& [seconds, name] : all) {
    if (seconds >= 0.0005 * sum) pieces.push_back(fmt::format("{} {:.1f} %", name, 100 * seconds / sum));
  }
  return wrapped(pieces, "time   ", o.width);
}

}  // namespace

bool is_silent(const io::LiveStatus& s, double silence) {
  const double step = std::isfinite(s.seconds_per_step) ? s.seconds_per_step : 0;
  return s.state == "running" && silence > std::max(30.0, 5 * step);
}

std::vector<std::string> curve(const std::vector<double>& values, i64 columns, i64 rows, bool unicode) {
  const std::vector<double> points = squeezed(values, std::max<i64>(columns, 1));
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const double x : points) {
    if (!std::isfinite(x)) continue;
    least = std::min(least, x);
    most = std::max(most, x);
  }
  std::vector<std::string> lines(static_cast<std::size_t>(rows));
  for (const double x : points) {
    // The smallest value still shows: one eighth.
    const double height = most > least ? (x - least) / (most - least) : 0.5;
    const i64 eighths = std::isfinite(x) ? 1 + std::llround(height * static_cast<double>(8 * rows - 1)) : 0;
    for (i64 r = 0; r < rows; ++r) lines[r] += block(eighths - 8 * (rows - 1 - r), unicode);
  }
  return lines;
}

std::string bars(const std::vector<double>& values, double full, i64 columns, bool unicode) {
  std::string line;
  for (const double x : squeezed(values, std::max<i64>(columns, 1))) {
    const i64 eighths = std::isfinite(x) && full > 0 ? std::llround(8 * std::clamp(x / full, 0.0, 1.0)) : 0;
    line += block(x > 0 ? std::max<i64>(eighths, 1) : eighths, unicode);
  }
  return line;
}

std::string picture_of(const io::LiveStatus& s, const std::string& run, const ViewOptions& options) {
  ViewOptions o = options;
  o.width = std::max<i64>(o.width, 40);
  std::string text;
  for (const auto& part : {header(s, run, o), loss_curve(s, o), loads(s, o), phases(s, o)}) {
    if (part.empty()) continue;
    if (!text.empty()) text += "\n";
    for (const std::string& line : part) text += line + "\n";
  }
  return text;
}

std::string line_of(const io::LiveStatus& s, const ViewOptions& o) {
  std::string line = fmt::format("{} step {}/{}  loss {}", harmless(s.state), s.step, s.steps, number(s.loss, "{:.4f}"));
  if (s.evaluated) line += fmt::format("  held-out {}", number(s.evaluation_loss, "{:.4f}"));
  double worst = 0;
  for (const auto& layer : s.layers) worst = std::max(worst, layer.imbalance);
  if (worst > 0) line += fmt::format("  imbalance {:.2f}", worst);
  line += fmt::format("  {} tokens/s", number(s.tokens_per_second, "{:.0f}"));
  if (s.state == "running") line += "  ETA " + eta_of(s);
  if (is_silent(s, o.silence)) line += fmt::format("  no sign of life for {}", duration(o.silence));
  return line;
}

}  // namespace pleiad::app
