// A figure before it is drawn: numbers in blocks, a gnuplot script that plots them, and a caption; or the sentence that says why there is
// nothing to draw. draw.hpp draws them; *_figures.hpp make them.
#pragma once
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::report {

/// One table of numbers in the data file of a figure; scripts address it as `index` = its place.
struct Block {
  std::string title = {};
  std::vector<std::string> columns = {};  ///< names with units, "loss [nat]"
  std::vector<std::vector<double>> rows = {};
};

inline constexpr int k_wide = 1300;  ///< pixels of a figure over the whole width of the page

/// Part of a figure with axes of its own.
struct Panel {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<std::string> settings = {};  ///< gnuplot commands of their own
  std::vector<std::string> elements = {};  ///< what the plot command plots; none: the panel is left out
};

struct Figure {
  std::string id = {};  ///< name of its files: letters, digits, hyphens
  std::string title = {}, caption = {};
  std::string subject = {};       ///< which run it is of, for its files; empty: all
  std::string absent = {};        ///< why it is not drawn, one sentence; empty: it is
  int width = 640, height = 400;  ///< pixels, of the SVG
  int panel_columns = 1;
  std::vector<std::string> legend = {};  ///< of all panels alike, above them; none: a panel without settings of its own has no legend
  std::vector<Block> blocks = {};
  std::vector<Panel> panels = {};
  std::vector<std::string> settings = {};  ///< gnuplot commands before the panels

  /// Adds a block and returns its place.
  std::size_t add(Block block);
};

/// A figure that says why it is not there.
Figure absent_figure(const std::string& id, const std::string& title, const std::string& why);

/// The complete script of a figure and its data file; both stand for themselves.
std::string script_of(const Figure& figure);
std::string data_of(const Figure& figure);

/// Text as a gnuplot string that means itself.
std::string quote(const std::string& text);
/// The same for a tic, whose label gnuplot reads as a format.
std::string tic_label(const std::string& text);
/// Text fit for an id: other characters become hyphens.
std::string id_of(const std::string& text);

/// Colour (Okabe and Ito, without the yellow that paper swallows), dash and point of the i-th line; 84 differ. `lw`: width. With `points` points
/// only some of them are marked.
std::string line_style(std::size_t i, double lw, std::size_t points = 0);
std::string color_of(std::size_t i);
/// The i-th of n ordered colours (viridis), hexadecimal.
std::string ordered_color(std::size_t i, std::size_t n);
/// gnuplot command that sets the palette of heat maps.
std::string heat_palette();
/// The step of at most `most` tics in a range: 1, 2 or 5 times a power of ten.
double nice_step(double range, int most);
/// Command for the tics of a logarithmic axis (x or y) of a few decades: 1, 2 and 5 times powers of ten.
std::string log_tics(const std::string& axis, double low, double high);
/// Commands for an x axis of training steps up to `last`, with few tics.
std::vector<std::string> step_axis(double last);
/// Commands for a legend below a plot without panels; adds its height to the figure's.
std::string legend_below(Figure& figure, const std::vector<std::string>& entries);

/// Bars of phases on top of each other.
struct PhaseBars {
  std::string title = {}, x_label = {}, y_label = {}, unit = {};  ///< title: of the numbers in the data file
  std::vector<double> places = {};                                ///< the number below each bar
  std::vector<std::string> phases = {};
  std::vector<std::vector<double>> values = {};                   ///< [bars][phases]
};
/// Adds them as the only panel of a figure, with a legend below: the 7 largest phases in their order, the others summed up behind them.
void add_phase_bars(Figure& figure, const PhaseBars& bars);

/// Prefix of a unit that brings numbers up to `largest` to between 1 and 1000: {1e12, "T"}.
struct Prefix {
  double factor = 1;
  std::string name;
};
Prefix prefix_for(double largest);

}  // namespace pleiad::report
