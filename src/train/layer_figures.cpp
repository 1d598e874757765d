#include "pleiad/train/layer_figures.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace pleiad::train {

LoadFigures load_figures(std::span<const i64> tokens, std::span<const double> flops_per_row, i64 unused) {
  LoadFigures f;
  const double n = static_cast<double>(tokens.size()) + static_cast<double>(unused);
  f.dead = unused;
  double sum = 0, flops = 0, most = 0, most_flops = 0, squares = 0;
  for (std::size_t e = 0; e < tokens.size(); ++e) {
    const double t = static_cast<double>(tokens[e]), work = t * flops_per_row[e];
    sum += t;
    squares += t * t;
    flops += work;
    most = std::max(most, t);
    most_flops = std::max(most_flops, work);
    f.dead += tokens[e] == 0;
  }
  if (sum <= 0) return f;
  const double mean = sum / n, mean_flops = flops / n;
  f.imbalance = most / mean;
  f.flops_imbalance = most_flops / mean_flops;
  f.variation = std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean;
  double h = 0;
  for (std::size_t e = 0; e < tokens.size(); ++e) {
    const double t = static_cast<double>(tokens[e]);
    if (t > 0) h -= t / sum * std::log(t / sum);
    f.overloaded += t * flops_per_row[e] > 2 * mean_flops;
  }
  if (n > 1) f.entropy = h / std::log(n);
  f.divergence = std::max(0.0, std::log(n) - h);
  return f;
}

UsageFigures usage_figures(std::span<const i64> weight, i64 unused) {
  UsageFigures f;
  i64 used = 0;
  double sum = 0;
  for (const i64 w : weight) {
    used += w != 0;
    sum += static_cast<double>(w);
  }
  if (used == 0 || sum <= 0) return f;
  const double n = static_cast<double>(weight.size()) + static_cast<double>(unused);
  f.usage = static_cast<double>(used) / n;
  double divergence = std::log(n);
  for (const i64 w : weight) {
    const double z = static_cast<double>(w) / sum;
    if (z > 0) divergence += z * std::log(z);
  }
  f.unevenness = std::max(0.0, divergence);
  return f;
}

LayerFacts layer_facts(const model::MoeConfig& config, const model::MoeLayer& layer) {
  LayerFacts facts;
  facts.router_flops = layer.router_flops_per_token();
  facts.side_flops = layer.side_flops_per_token();
  facts.side_flops_per_selection = layer.side_flops_per_selection();
  const bool networks = config.bank == routing::Bank::feed_forward;
  if (networks) {
    facts.widths = config.expert_widths;
    std::ranges::sort(facts.widths);
    facts.widths.erase(std::unique(facts.widths.begin(), facts.widths.end()), facts.widths.end());
  }
  for (i64 e = 0; e < static_cast<i64>(config.expert_widths.size()); ++e) {
    facts.flops_per_row.push_back(layer.flops_per_row(e));
    facts.parameters.push_back(layer.parameters_of(e));
    if (networks) facts.width_of.push_back(std::ranges::lower_bound(facts.widths, config.expert_widths[e]) - facts.widths.begin());
  }
  return facts;
}

namespace {

void share_out(const model::LayerStatistics& s, const LayerFacts& facts, LayerFigures& f) {
  f.width_share.assign(facts.widths.size(), 0);
  f.width_flops_share.assign(facts.widths.size(), 0);
  double flops = 0, parameters = 0, kept = 0;
  for (const i64 e : s.used) {
    const double n = static_cast<double>(s.expert_tokens[e]), work = n * facts.flops_per_row[e];
    kept += n;
    flops += work;
    parameters += n * static_cast<double>(facts.parameters[e]);
    if (facts.widths.empty()) continue;
    f.width_share[facts.width_of[e]] += n;
    f.width_flops_share[facts.width_of[e]] += work;
  }
  const double tokens = static_cast<double>(std::max<i64>(s.tokens, 1));
  f.mean_k = kept / tokens;
  f.expert_flops_per_token = flops / tokens;
  f.expert_parameters_per_token = parameters / tokens;
  for (double& share : f.width_share) share /= std::max(kept, 1.0);
  for (double& share : f.width_flops_share) share /= std::max(flops, 1.0);
}

}  // namespace

LayerFigures layer_figures(const model::LayerStatistics& s, const LayerFacts& facts) {
  LayerFigures f;
  std::vector<i64> tokens, weight;
  std::vector<double> flops_per_row;
  for (const i64 e : s.used) {
    tokens.push_back(s.expert_tokens[e]);
    weight.push_back(s.expert_weight[e]);
    flops_per_row.push_back(facts.flops_per_row[e]);
  }
  const i64 unused = static_cast<i64>(s.expert_tokens.size() - s.used.size());
  f.load = load_figures(tokens, flops_per_row, unused);
  f.selection_flops_per_token = facts.side_flops_per_selection * static_cast<double>(s.selected) / static_cast<double>(std::max<i64>(s.tokens, 1));
  f.use = usage_figures(weight, unused);
  share_out(s, facts, f);
  f.flops_per_token = f.expert_flops_per_token + facts.router_flops + facts.side_flops + f.selection_flops_per_token;
  if (s.generated_experts > 0) f.tokens_per_generated = static_cast<double>(s.tokens) / static_cast<double>(s.generated_experts);
  for (std::size_t i = 0; i < s.position_tokens.size(); ++i) {
    const i64 n = s.position_tokens[i];
    const double over = n > 0 ? 1 / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
    f.k_by_position.push_back(static_cast<double>(s.position_kept[i]) * over);
    f.importance_by_position.push_back(static_cast<double>(s.position_importance[i]) * model::k_fixed_unit * over);
  }
  return f;
}

double rows_flops(const experts::ExpertRows& rows, std::span<const i64> experts, const LayerFacts& facts) {
  // Experts of one width need no look at each of them, and there may be a million.
  if (facts.widths.size() < 2) return static_cast<double>(rows.rows()) * facts.flops_per_row.front();
  double flops = 0;
  for (const experts::ExpertRun& run : rows.runs) flops += static_cast<double>(run.rows()) * facts.flops_per_row[experts[run.expert]];
  return flops;
}

double peak_over_mean(std::span<const double> values) {
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return sum > 0 ? *std::ranges::max_element(values) * static_cast<double>(values.size()) / sum : 1;
}

double step_flops(double fixed_per_token, const LayerFacts& facts, const std::vector<const model::LayerStatistics*>& layers, i64 tokens) {
  double forward = fixed_per_token * static_cast<double>(tokens);
  for (const model::LayerStatistics* layer : layers) {
    for (const i64 e : layer->used) forward += static_cast<double>(layer->expert_tokens[e]) * facts.flops_per_row[e];
    forward += static_cast<double>(layer->selected) * facts.side_flops_per_selection;
  }
  return 3 * forward;
}

}  // namespace pleiad::train
