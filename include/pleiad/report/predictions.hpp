// Predictions of training steps side by side: what pleiad simulate prints and writes, as tables, figures and a page.
#pragma once
#include "pleiad/io/simulation_record.hpp"
#include "pleiad/report/figure.hpp"
#include "pleiad/report/report.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

/// A file of predictions, or what would be written to one.
struct PredictedSteps {
  std::string name;  ///< for people
  io::SimulationRecord record;
  /// Name of the cluster, and behind it where its numbers are from.
  std::string cluster() const;
  /// How the batch goes with the number of ranks, in words: strong or weak scaling, or neither.
  std::string scaling() const;
};

/// UserError for a file that is damaged, or given twice.
std::vector<PredictedSteps> read_predictions(const std::vector<std::string>& paths);

/// One row for each number of ranks; with the file where there are several.
Table table_of_predictions(const std::vector<PredictedSteps>& files);
/// The table, with one file what it says of its last number of ranks (phases, critical path, links, memory), and the notes.
std::string predictions_in_words(const std::vector<PredictedSteps>& files);

/// Step time and efficiency over the number of ranks.
std::vector<Figure> scaling_figures(const std::vector<PredictedSteps>& files);
/// Where the time goes, and how the load lies on the ranks. `id` begins the ids of the figures.
std::vector<Figure> prediction_figures(const PredictedSteps& file, const std::string& id);

/// make_report for files of predictions. pre: check_output was called.
std::string report_predictions(const ReportRequest& request);

}  // namespace pleiad::report
