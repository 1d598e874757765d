// Evaluation: mean loss over held-out windows in fixed order, what the routers did, and, where the corpus knows the truth, how far above
// the floor the loss is and how well experts align with domains.
#pragma once
#include "pleiad/train/batch_source.hpp"
#include "pleiad/train/layer_figures.hpp"

namespace pleiad::train {

struct EvalReport {
  model::Task task = model::Task::lm;    ///< of the model
  i64 windows = 0, targets = 0;
  double loss = 0;                       ///< nats per target
  double accuracy = 0;                   ///< share of targets that were the most probable
  std::vector<i64> confusion;            ///< of a classifier: [true label x most probable label], else empty
  std::optional<double> floor;           ///< mean true conditional entropy of the same tokens, nats
  std::vector<std::string> domains;
  std::vector<double> domain_loss;       ///< [domains] nats per token; NaN without tokens
  std::vector<double> domain_floor;      ///< [domains], if there is a floor
  std::vector<i64> domain_targets;       ///< [domains]
  // By MoE layer, in order.
  std::vector<i64> blocks;               ///< block numbers
  std::vector<model::LayerStatistics> layers;  ///< over all windows
  std::vector<LayerFigures> figures;
  std::vector<double> alignment;         ///< mutual information of expert and domain over domain entropy, 0..1; only with domains
  std::vector<double> token_alignment;   ///< the same of expert and input token
  std::vector<std::vector<i64>> expert_domain_tokens;  ///< [domains x N], up to k_most_listed_experts
  double expert_flops_per_token = 0;     ///< forward, kept assignments, summed over layers
  double flops_per_token = 0;            ///< forward, the whole model
  double active_parameters = 0;          ///< trainable numbers a token meets: all replicated ones and those of its kept experts, mean
};

/// Beyond this many experts (PEER, PKM) nothing with an axis over the experts is kept or written.
inline constexpr i64 k_most_listed_experts = 4096;

/// Correlation of true and predicted labels (Matthews 1975; for more than two classes Gorodkin 2004, eq. 8): 1 perfect, 0 chance. 0 where
/// one side is constant. confusion [classes x classes].
double matthews_correlation(std::span<const i64> confusion);

/// At most `max_windows` windows (0: all), `batch` at a time, cut into `lanes` lanes. The result is the same on every rank and on
/// any number of ranks. collective.
EvalReport evaluate(const model::Model& model, const ParamSet& params, BatchSource& source, const comm::ProcessGrid& grid,
                    i64 lanes, i64 batch, i64 max_windows, PhaseTimes& times);

}  // namespace pleiad::train
