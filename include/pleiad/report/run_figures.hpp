// Figures of one run: where its tokens and FLOPs went, how evenly, what the experts know, and what time and traffic it took.
#pragma once
#include "pleiad/report/figure.hpp"
#include "pleiad/report/run.hpp"
#include "pleiad/report/series.hpp"

namespace pleiad::report {

/// The record of a run, open, and the layers that are drawn of it.
struct RunData {
  const Run& run;
  const io::H5File& file;
  std::string id;                   ///< begins the ids of its figures
  std::vector<std::size_t> layers;  ///< places among the MoE layers; at most 8, evenly chosen
  std::vector<i64> blocks;          ///< block numbers of all MoE layers
  std::vector<double> eval_step;

  std::string layer_name(std::size_t layer) const;
  std::vector<std::string> layer_names() const;  ///< of those that are drawn
  /// What a caption adds where not all layers are drawn.
  std::string layers_note() const;
};

/// All figures of a run, absent ones with their reason. `id` makes them different from those of other runs.
std::vector<Figure> run_figures(const Run& run, const std::string& id);

// By file. Each figure names what is missing where it cannot be drawn.
std::vector<Figure> load_figures(const RunData& data);       // load_figures.cpp: heat maps, balance, usage
std::vector<Figure> choice_figures(const RunData& data);     // choice_figures.cpp: K, widths, entropy, drops, position
std::vector<Figure> alignment_figures(const RunData& data);  // alignment_figures.cpp: experts and domains, tokens
std::vector<Figure> cost_figures(const RunData& data);       // cost_figures.cpp: phases, bytes

/// Axes of a panel of lines over training steps.
void set_lines(Panel& panel, double last_step);
/// A dataset of /routing or /evaluation with one number per layer and row, as lines over steps: training (thin, averaged) and held-out (points).
/// `name` is the dataset; nothing is added, and false returned, if it is in neither group or nowhere has a value.
bool add_layer_lines(const RunData& data, Figure& figure, Panel& panel, const std::string& name, double scale = 1);

/// A heat map as a panel of a figure: value[row][column] over x (column centres) and y (row centres).
struct HeatMap {
  std::string title = {}, x_label = {}, y_label = {}, value_label = {};
  std::vector<double> x = {}, y = {};
  std::vector<std::vector<double>> value = {};  ///< [rows][columns]
  double top = 1;                               ///< end of the colour scale, in the unit shown
  double scale = 1;                             ///< the data file has value, the figure value / scale
  bool downward = false;                        ///< the first row on top, as in a matrix
  bool numbers = false;                         ///< written into the cells, where there is room
};
/// Where the colours of these maps end: at the largest value, but not far above what all but a few places have. At least 2, so that an even
/// load of 1 never has the last colour.
double color_top(const std::vector<HeatMap>& maps);
void add_heat_map(Figure& figure, const HeatMap& map, std::vector<std::string> settings = {});

/// Panels of one size: alone, in two columns, or in four over the whole width.
void lay_out_panels(Figure& figure);

/// Experts in groups of consecutive ones, at most 64.
struct ExpertGroups {
  i64 experts = 0, size = 1;
  explicit ExpertGroups(i64 n);
  i64 count() const { return (experts + size - 1) / size; }
  std::vector<double> centres() const;                                  ///< mean expert number of each group
  std::vector<double> means(std::span<const double> of_experts) const;  ///< by group
  std::string label() const;                                            ///< of the axis
};

}  // namespace pleiad::report
