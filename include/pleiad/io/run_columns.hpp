// The datasets of run.h5 that grow, one entry each: name, type, shape of a row, unit, meaning, and how a row is made of a record.
// run_record.hpp writes them; docs/file_format.md explains them.
#pragma once
#include "pleiad/io/h5.hpp"
#include "pleiad/train/metrics.hpp"

namespace pleiad::io {

/// What a run record says about itself and what its datasets are shaped by.
struct RunDescription {
  std::string config;                                         ///< resolved, INI form
  std::vector<std::pair<std::string, std::string>> facts;     ///< environment and model: name, value
  std::vector<std::pair<std::string, i64>> numbers;           ///< the same, whole numbers
  i64 seed = 0, ranks = 1;
  std::string corpus_fingerprint = {};                        ///< of the data
  std::vector<i64> moe_layers, expert_widths;
  train::LayerFacts layer;                                    ///< of every MoE layer
  i64 k_bins = 0, places = 0;                                 ///< of model::LayerStatistics
  i64 pair_ranks = 0;                                         ///< ranks whose bytes are counted pair by pair; pretended ones in a dry run; 0: none
  bool has_importance = false, generates_experts = false;
  std::vector<std::string> auxiliary;                         ///< names of the auxiliary losses
  std::vector<std::string> domains;
  std::vector<std::string> labels;                            ///< of a classifier
  bool has_floor = false;
  std::string init_checkpoint = {};                           ///< base name of the file the run started from; empty: random weights
  i64 init_step = 0;                                          ///< updates that one had done

  i64 experts() const { return static_cast<i64>(expert_widths.size()); }
  /// Whether there are datasets with an axis over the experts.
  bool lists_experts() const { return experts() <= train::k_most_listed_experts; }
};

/// The numbers of one row, in the order of the file; a dataset has one kind of them.
struct Row {
  std::vector<double> reals;
  std::vector<i64> wholes;
  std::vector<std::uint8_t> bytes;

  void add(double x) { reals.push_back(x); }
  void add(i64 x) { wholes.push_back(x); }
  void add(std::span<const double> x) { reals.insert(reals.end(), x.begin(), x.end()); }
  void add(std::span<const i64> x) { wholes.insert(wholes.end(), x.begin(), x.end()); }
};

struct ColumnHead {
  std::string name;
  ElementType type;
  Shape row;
  std::string units, description;
};

template <class Record>
struct Column : ColumnHead {
  std::function<void(const Record&, Row&)> fill;
};

struct EvaluationRow {
  i64 step;
  const train::EvalReport& report;
};
/// Since the row before.
struct PairRow {
  i64 step;
  const std::vector<i64>& bytes;  ///< [ranks x ranks]
};
struct CheckpointRow {
  i64 step;
  double seconds;
  i64 bytes;
};
struct SampleRow {
  i64 step;
  const std::string& text;
};

std::vector<Column<train::StepRecord>> step_columns(const RunDescription& run);
std::vector<Column<EvaluationRow>> evaluation_columns(const RunDescription& run);
std::vector<Column<PairRow>> pair_columns(const RunDescription& run);
std::vector<Column<CheckpointRow>> checkpoint_columns();
std::vector<Column<SampleRow>> sample_columns();
std::vector<Column<train::PlacementRecord>> placement_columns();

}  // namespace pleiad::io
