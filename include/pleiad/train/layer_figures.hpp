// Figures of an MoE layer made of its counts, for one step or a whole evaluation. Definitions in docs/analysis.md.
// Letters: N experts, W distinct expert widths, K kept entries of a token.
#pragma once
#include "pleiad/model/moe_layer.hpp"

namespace pleiad::train {

/// Load of the experts of one layer.
struct LoadFigures {
  double imbalance = 1;            ///< largest over mean, of tokens per expert
  double flops_imbalance = 1;      ///< largest over mean, of floating-point operations per expert
  double variation = 0;            ///< coefficient of variation of tokens per expert
  double entropy = 1;              ///< entropy of the token shares over ln(experts)
  double divergence = 0;           ///< of the token shares from even ones (Kullback-Leibler), nats
  i64 dead = 0;                    ///< experts without a token
  i64 overloaded = 0;              ///< experts with more than twice the mean of floating-point operations
};
/// tokens, flops_per_row: of some experts; `unused` others have no token.
LoadFigures load_figures(std::span<const i64> tokens, std::span<const double> flops_per_row, i64 unused = 0);

/// Share of experts whose weights do not sum to zero, and ln N + sum z ln z with z = weights over their sum (He 2024): the
/// Kullback-Leibler divergence from an even use, 0 to ln N; 0 without weights.
struct UsageFigures {
  double usage = 0, unevenness = 0;
};
UsageFigures usage_figures(std::span<const i64> weight, i64 unused = 0);

/// What the counts mean; the same for every MoE layer of a model.
struct LayerFacts {
  std::vector<double> flops_per_row;   ///< [N] forward
  std::vector<i64> parameters;         ///< [N] trainable numbers of an expert
  double router_flops = 0, side_flops = 0;  ///< forward, per token: router; generated expert or shared adapter
  double side_flops_per_selection = 0;      ///< forward: adapters of the selected experts
  std::vector<i64> widths;             ///< [W] ascending; empty where experts are no feed-forward networks
  std::vector<i64> width_of;           ///< [N] place in widths
};
/// `layer` is any MoE layer of the model.
LayerFacts layer_facts(const model::MoeConfig& config, const model::MoeLayer& layer);

struct LayerFigures {
  LoadFigures load;
  UsageFigures use;
  double mean_k = 0;                     ///< kept entries per token
  double expert_flops_per_token = 0;     ///< forward, kept entries
  double selection_flops_per_token = 0;  ///< of the adapters of selected experts
  double flops_per_token = 0;            ///< all of these, router, generated expert and shared adapter
  double expert_parameters_per_token = 0;  ///< trainable numbers of a token's kept experts, mean
  double tokens_per_generated = 0;       ///< tokens over distinct selections; 0 where nothing is generated
  std::vector<double> width_share, width_flops_share;  ///< [W] of the kept assignments and of their operations
  std::vector<double> k_by_position, importance_by_position;  ///< [places] means; NaN where no token stands
};
LayerFigures layer_figures(const model::LayerStatistics& s, const LayerFacts& facts);

/// Forward floating-point operations of a rank's experts; experts: their global numbers.
double rows_flops(const experts::ExpertRows& rows, std::span<const i64> experts, const LayerFacts& facts);

/// Largest over mean; 1 where nothing is there.
double peak_over_mean(std::span<const double> values);

/// Floating-point operations of one step over the whole batch of `tokens`: forward and twice that backward, for assignments kept.
double step_flops(double fixed_per_token, const LayerFacts& facts, const std::vector<const model::LayerStatistics*>& layers, i64 tokens);

}  // namespace pleiad::train
