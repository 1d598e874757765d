#include "pleiad/io/run_summary.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::io {

namespace {

/// Mean of the last row of a dataset [rows, ...]; nothing if it is not there, has no row or is not finite.
std::optional<double> last(const H5File& file, const std::string& dataset) {
  if (!file.exists(dataset)) return {};
  const Shape shape = file.shape(dataset);
  if (shape.empty() || shape[0] == 0) return {};
  const i64 width = std::accumulate(shape.begin() + 1, shape.end(), i64{1}, std::multiplies<>());
  std::vector<double> row(static_cast<std::size_t>(width));
  file.read_rows<double>(dataset, {{shape[0] - 1, 1}}, row);
  const double mean = std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(width);
  return std::isfinite(mean) ? std::optional<double>(mean) : std::nullopt;
}

/// Sum over the rows that were not lost.
double sum(const H5File& file, const std::string& dataset) {
  double total = 0;
  for (const double x : file.exists(dataset) ? file.read<double>(dataset) : std::vector<double>{}) total += x >= 0 ? x : 0;
  return total;
}

}  // namespace

std::string run_folder(const std::string& path) {
  namespace fs = std::filesystem;
  return (fs::is_directory(path) ? fs::path(path) : fs::path(path).parent_path()).string();
}

H5File open_run(const std::string& path) {
  H5File file = H5File::open(std::filesystem::is_directory(path) ? path + "/run.h5" : path);
  file.require_format(k_run_format);
  return file;
}

RunSummary read_run_summary(const std::string& path) { return read_run_summary(open_run(path), run_folder(path)); }

RunSummary read_run_summary(const H5File& file, const std::string& in) {
  const std::filesystem::path folder = std::filesystem::path(in).lexically_normal();
  RunSummary s;
  s.name = folder.filename().string();
  if (s.name.empty()) s.name = folder.parent_path().filename().string();
  if (file.exists("/layers/block") && file.has_attribute("/", "router")) s.router = file.text("/", "router");
  s.steps = file.extent("/steps/step", 0);
  s.finished = file.integer("/", "finished_step") >= 0;
  if (file.has_attribute("/", "task")) s.task = model::task_from(file.text("/", "task"), file.path() + ": task");
  else if (file.exists("/labels")) s.task = model::Task::classifier;  // of an older version
  s.looks_ahead = model::predicts_next(s.task) && file.has_attribute("/", "causal") && file.integer("/", "causal") == 0;
  if (file.has_attribute("/", "parameters_total")) s.parameters = file.number("/", "parameters_total");
  s.loss = last(file, "/evaluation/loss");
  s.above_floor = last(file, "/evaluation/above_floor");
  if (s.task == model::Task::classifier) {
    s.accuracy = last(file, "/evaluation/accuracy");
    s.matthews = last(file, "/evaluation/matthews");
  }
  s.active_parameters = last(file, "/evaluation/active_parameters");
  s.flops_per_token = last(file, "/evaluation/model_flops_per_token");
  s.mean_k = last(file, "/evaluation/mean_k");
  s.flops_imbalance = last(file, "/evaluation/flops_imbalance");
  s.expert_flops_per_token = last(file, "/evaluation/expert_flops_per_token");
  s.targets = last(file, "/evaluation/targets");
  s.floor = last(file, "/evaluation/floor");
  s.tokens = sum(file, "/steps/tokens");
  s.training_flops = sum(file, "/steps/flops");
  if (s.tokens > 0) s.bytes_per_token = sum(file, "/steps/exchange_bytes") / s.tokens;
  s.seconds = sum(file, "/steps/seconds");
  return s;
}

const std::vector<SummaryFigure>& summary_figures() {
  using S = RunSummary;
  static const std::vector<SummaryFigure> all = {
      {"loss_nats", "nat", "held-out loss per target, last evaluation", [](const S& s) { return s.loss; }},
      {"above_floor_nats", "nat", "held-out loss above the true entropy of the corpus", [](const S& s) { return s.above_floor; }},
      {"accuracy", "1", "share of labels that were the most probable, of a classifier", [](const S& s) { return s.accuracy; }},
      {"matthews", "1", "correlation of true and most probable labels, of a classifier", [](const S& s) { return s.matthews; }},
      {"parameters", "1", "trainable parameters, each expert once", [](const S& s) { return std::optional(s.parameters); }},
      {"active_parameters", "1", "trainable parameters a token meets, mean", [](const S& s) { return s.active_parameters; }},
      {"flops_per_token", "flop/token", "forward, the whole model, kept assignments, last evaluation", [](const S& s) { return s.flops_per_token; }},
      {"expert_flops_per_token", "flop/token", "forward, kept experts of all layers", [](const S& s) { return s.expert_flops_per_token; }},
      {"training_flops", "flop", "forward and backward, all steps", [](const S& s) { return std::optional(s.training_flops); }},
      {"mean_k", "1", "kept experts per token, mean over MoE layers", [](const S& s) { return s.mean_k; }},
      {"flops_imbalance", "1", "largest over mean of the experts' FLOPs, mean over MoE layers", [](const S& s) { return s.flops_imbalance; }},
      {"bytes_per_token", "byte/token", "sent over the network by all ranks, forward and backward", [](const S& s) { return s.bytes_per_token; }},
      {"seconds", "s", "sum of the steps", [](const S& s) { return std::optional(s.seconds); }},
  };
  return all;
}

const SummaryFigure& summary_figure(const std::string& name) {
  const auto found = std::ranges::find(summary_figures(), name, &SummaryFigure::name);
  PLEIAD_CHECK(found != summary_figures().end(), "no figure {}", name);
  return *found;
}

}  // namespace pleiad::io
