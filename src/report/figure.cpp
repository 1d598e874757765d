#include "pleiad/report/figure.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "pleiad/core/error.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

namespace {

constexpr std::array k_colors = {"#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"};
constexpr std::array k_points = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 2, 1};
constexpr std::array k_viridis = {"#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"};

std::string one_line(std::string text) {
  text = clean_text(text);
  std::ranges::replace_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

/// First line of its files.
std::string head_of(const Figure& f) { return one_line(f.title + (f.subject.empty() ? "" : ", " + f.subject)); }

/// Terminal and looks that all figures share. A script must not depend on one that ran before it.
std::string preamble(const Figure& f) {
  return fmt::format(
      R"(# {0}
# "gnuplot {1}.gp" makes {1}.svg; "gnuplot -e 'pdf=1' {1}.gp" makes {1}.pdf. The numbers are in {1}.dat.
reset
set encoding utf8
if (exists("pdf")) {{
  set terminal pdfcairo noenhanced rounded size {2:.1f}cm,{3:.1f}cm font 'Helvetica,10'
  set output '{1}.pdf'
}} else {{
  set terminal svg noenhanced rounded size {4},{5} font 'Helvetica,14' background '#ffffff'
  set output '{1}.svg'
}}
data = '{1}.dat'
set border 3 lw 1 lc rgb '#444444'
set tics nomirror out scale 0.5
set grid lt 1 lc rgb '#dddddd' lw 0.7 dt 1
set style fill solid 1 noborder
set bars 0.5
set pointintervalbox 0
set key off
set tics font ',13'
)",
      head_of(f), f.id, f.width / 40.0, f.height / 40.0, f.width, f.height);
}

/// How many entries of a legend stand side by side.
std::size_t legend_columns(const Figure& f, const std::vector<std::string>& entries) {
  std::size_t longest = 1;
  for (const std::string& e : entries) longest = std::max(longest, e.size());
  return std::clamp<std::size_t>(static_cast<std::size_t>(f.width - 20) / (8 * longest + 75), 1, std::max<std::size_t>(1, entries.size()));
}

std::string panel_script(const Panel& p, bool titled) {
  std::string s;
  if (titled && !p.title.empty()) s += "set title " + quote(p.title) + " font ',14'\n";
  s += "set xlabel " + quote(p.x_label) + " offset 0,0.5\nset ylabel " + quote(p.y_label) + "\n";
  for (const std::string& line : p.settings) s += line + "\n";
  s += "plot ";
  for (std::size_t i = 0; i < p.elements.size(); ++i) s += (i ? ", \\\n     " : "") + p.elements[i];
  return s + "\n";
}

}  // namespace

std::size_t Figure::add(Block block) {
  blocks.push_back(std::move(block));
  return blocks.size() - 1;
}

Figure absent_figure(const std::string& id, const std::string& title, const std::string& why) {
  Figure f{.id = id, .title = title};
  f.absent = why;
  return f;
}

std::string script_of(const Figure& f) {
  std::string s = preamble(f);
  for (const std::string& line : f.settings) s += line + "\n";
  const i64 panels = static_cast<i64>(f.panels.size()), rows = (panels + f.panel_columns - 1) / f.panel_columns;
  const std::size_t columns = legend_columns(f, f.legend), lines = (f.legend.size() + columns - 1) / columns;
  if (panels == 1 && lines > 0) s += fmt::format("set tmargin {:.1f}\n", 1 + 1.5 * static_cast<double>(lines));
  if (panels > 1) {
    // A title of blanks keeps the room in which the legend of the first panel stands.
    std::string room;
    for (std::size_t i = 0; i < lines; ++i) room += i ? "\\n " : " ";
    s += fmt::format("set bmargin 3.2\nset tmargin 2\nset multiplot layout {},{}{}\n", rows, f.panel_columns, lines > 0 ? " title \"" + room + "\" font ',16'" : "");
  }
  for (std::size_t i = 0; i < f.panels.size(); ++i) {
    if (lines > 0 && i == 0) {
      // Horizontal legends are kept as narrow as the panel they belong to; vertical ones are not.
      s += panels > 1 ? fmt::format("set key at screen 0.5,0.995 center top vertical maxrows {}", lines)
                      : fmt::format("set key tmargin center horizontal maxcols {}", columns);
      s += " Left reverse samplen 3 spacing 1.1 font ',13'\n";
    }
    s += panel_script(f.panels[i], panels > 1 || lines == 0);
    if (i == 0 && panels > 1 && lines > 0) s += "set key off\n";
  }
  if (panels > 1) s += "unset multiplot\n";
  return s + "unset output\n";
}

std::string data_of(const Figure& f) {
  std::string text = "# " + head_of(f) + "\n";
  for (std::size_t b = 0; b < f.blocks.size(); ++b) {
    const Block& block = f.blocks[b];
    text += fmt::format("{}# index {}: {}\n#", b ? "\n\n" : "", b, one_line(block.title));
    for (const std::string& column : block.columns) text += " " + one_line(column) + (&column == &block.columns.back() ? "\n" : "\t");
    for (const std::vector<double>& row : block.rows) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        text += i ? "\t" : "";
        text += std::isfinite(row[i]) ? fmt::format("{}", row[i]) : "NaN";
      }
      text += "\n";
    }
    if (block.rows.empty()) text += "NaN\tNaN\tNaN\n";  // gnuplot does not count a block without a line
  }
  return text;
}

std::string quote(const std::string& text) {
  std::string result = "'";
  for (const char c : one_line(text)) result += c == '\'' ? "''" : std::string(1, c);
  return result + "'";
}

std::string tic_label(const std::string& text) {
  std::string doubled;
  for (const char c : text) doubled += c == '%' ? "%%" : std::string(1, c);
  return quote(doubled);
}

std::string id_of(const std::string& text) {
  std::string id = text;
  for (char& c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) c = '-';
  }
  return id;
}

std::string color_of(std::size_t i) { return k_colors[i % k_colors.size()]; }

std::string line_style(std::size_t i, double lw, std::size_t points) {
  // 7 colours, 4 dashes and 12 points: neighbours differ in all three.
  const std::string style = fmt::format("lc rgb '{}' dt {} lw {} pt {} ps 0.6", color_of(i), i % 4 + 1, lw, k_points[i % k_points.size()]);
  return points > 30 ? style + fmt::format(" pi {}", points / 15) : style;
}

std::string ordered_color(std::size_t i, std::size_t n) {
  const double place = n > 1 ? static_cast<double>(i) / static_cast<double>(n - 1) * (k_viridis.size() - 1) : 0;
  const std::size_t low = std::min(static_cast<std::size_t>(place), k_viridis.size() - 2);
  const auto channel = [](const char* color, int c) {
    return std::stoi(std::string(color).substr(static_cast<std::size_t>(1 + 2 * c), 2), nullptr, 16);
  };
  std::string color = "#";
  for (int c = 0; c < 3; ++c) {
    const double from = channel(k_viridis[low], c), to = channel(k_viridis[low + 1], c);
    color += fmt::format("{:02x}", static_cast<int>(std::lround(from + (place - static_cast<double>(low)) * (to - from))));
  }
  return color;
}

std::string heat_palette() {
  std::string s = "set palette defined (";
  for (std::size_t i = 0; i < k_viridis.size(); ++i) s += fmt::format("{}{} '{}'", i ? ", " : "", i, k_viridis[i]);
  return s + ") maxcolors 32";  // each colour is a rectangle of the colour box
}

std::string legend_below(Figure& f, const std::vector<std::string>& entries) {
  const std::size_t columns = legend_columns(f, entries);
  const int below = 22 * static_cast<int>((entries.size() + columns - 1) / columns);
  f.height += below;
  // Margins in parts of the picture: gnuplot's own would let the legend run into the label of the axis.
  return fmt::format(
      "set bmargin at screen {:.4f}\nset key at screen 0.5,{:.4f} center bottom horizontal Left reverse samplen 3 spacing 1.1 maxcols {} font ',13'",
      (below + 60.0) / f.height, 4.0 / f.height, columns);
}

double nice_step(double range, int most) {
  if (!(range > 0)) return 1;
  const double least = range / most, power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

std::string log_tics(const std::string& axis, double low, double high) {
  const double decades = std::log10(high / low);
  if (!(decades > 0) || decades > 4) return "set " + axis + "tics auto";
  std::string tics;
  for (double power = std::pow(10, std::floor(std::log10(low))); power <= high; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (decades > 2 && factor != 1) continue;
      if (factor * power >= low && factor * power <= high) tics += fmt::format("{}{:.6g}", tics.empty() ? "" : ", ", factor * power);
    }
  }
  return "set " + axis + "tics (" + tics + ")";
}

std::vector<std::string> step_axis(double last) {
  std::vector<std::string> commands = {fmt::format("set xrange [0:{:g}]", std::max(1.0, last)),
                                       fmt::format("set xtics {:g}", std::max(1.0, nice_step(last, 5)))};
  if (last >= 20000) commands.push_back("set format x '%.0s%c'");
  return commands;
}

Prefix prefix_for(double largest) {
  static const std::array<Prefix, 8> all = {Prefix{1, ""}, {1e3, "k"}, {1e6, "M"}, {1e9, "G"}, {1e12, "T"}, {1e15, "P"}, {1e18, "E"}, {1e21, "Z"}};
  Prefix best = all[0];
  for (const Prefix& p : all) {
    if (largest >= p.factor) best = p;
  }
  return best;
}

}  // namespace pleiad::report
