// Sweeps of evaluation: --sweep section.key=a,b,c, several of them a grid, and the table of what came out.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pleiad/train/evaluate.hpp"

namespace pleiad::app {

/// One key and the values it takes.
struct Sweep {
  std::string key;
  std::vector<std::string> values;
  /// section.key=a,b,c. UserError for another form or an empty value.
  static Sweep parse(const std::string& text);
};

/// All combinations, the last sweep varying fastest; each a list of section.key=value. UserError for a key swept twice.
std::vector<std::vector<std::string>> grid_of(const std::vector<Sweep>& sweeps);

/// What the table says of one point.
struct SweepRow {
  std::vector<std::string> values;  ///< of the swept keys
  double loss = 0;                  ///< nats per token
  std::optional<double> above_floor, accuracy;  ///< accuracy: of a classifier, in place of the perplexity
  double mean_k = 0;                ///< experts kept per token and MoE layer; 0 without MoE layers
  double expert_flops_per_token = 0;
  static SweepRow of(const std::vector<std::string>& point, const train::EvalReport& report);
};

/// Columns of even width, one line per row; or comma-separated with names fit for programs and every digit.
std::string sweep_table(const std::vector<Sweep>& sweeps, const std::vector<SweepRow>& rows);
std::string sweep_csv(const std::vector<Sweep>& sweeps, const std::vector<SweepRow>& rows);

}  // namespace pleiad::app
