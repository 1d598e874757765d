// The figures of a run that one compares with those of others, read from its run.h5.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pleiad/io/h5.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::io {

/// From the last evaluation, where there was one, and from all steps.
struct RunSummary {
  std::string name;                           ///< of the run directory
  std::string router;                         ///< empty: no experts
  i64 steps = 0;
  bool finished = false;
  model::Task task = model::Task::lm;
  bool looks_ahead = false;                   ///< it predicts the next token and a router sees later ones: its losses are not those of a language model
  double parameters = 0;                      ///< trainable
  std::optional<double> loss, above_floor;    ///< nats per target
  std::optional<double> accuracy, matthews;   ///< of a classifier
  std::optional<double> active_parameters, flops_per_token;  ///< a token's, forward, kept assignments
  std::optional<double> mean_k, flops_imbalance;             ///< means over the MoE layers; the imbalance is largest over mean of flops per expert
  std::optional<double> bytes_per_token;      ///< sent over the network by all ranks, forward and backward, mean over the run
  double seconds = 0;                         ///< sum of the steps
  double tokens = 0, training_flops = 0;      ///< of all steps; forward and backward
  std::optional<double> expert_flops_per_token;              ///< forward, kept entries, all layers
  std::optional<double> targets, floor;                      ///< of an evaluation: predictions; mean true entropy of what is predicted, nats
};

/// `path` is a run directory or a run.h5; it may still be written. UserError if it is no run record. One rank only.
RunSummary read_run_summary(const std::string& path);
/// Of an open record that lies in `folder`.
RunSummary read_run_summary(const H5File& file, const std::string& folder);
/// The record that `path`, a run directory or a run.h5, means, opened and its format checked; and the directory it lies in.
H5File open_run(const std::string& path);
std::string run_folder(const std::string& path);

/// A figure of a summary that tables and files show under one name.
struct SummaryFigure {
  std::string name, units, description;
  std::function<std::optional<double>(const RunSummary&)> value;
};
/// All of them, in the order in which tables show them.
const std::vector<SummaryFigure>& summary_figures();
/// The one of that name. pre: there is one.
const SummaryFigure& summary_figure(const std::string& name);

}  // namespace pleiad::io
