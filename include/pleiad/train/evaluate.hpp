// Evaluation: mean loss over held-out windows in fixed order, and, where the corpus knows the truth, how far above the floor the
// loss is and how well experts align with domains.
#pragma once
#include "pleiad/train/batch_source.hpp"

namespace pleiad::train {

struct EvalReport {
  i64 windows = 0, targets = 0;
  double loss = 0;                       ///< nats per target
  double accuracy = 0;                   ///< share of targets that were the most probable
  std::vector<i64> confusion;            ///< of a classifier: [true label x most probable label], else empty
  std::optional<double> floor;           ///< mean true conditional entropy of the same tokens, nats
  std::vector<std::string> domains;
  std::vector<double> domain_loss;       ///< [domains] nats per token; NaN without tokens
  std::vector<double> domain_floor;      ///< [domains], if there is a floor
  std::vector<i64> domain_targets;       ///< [domains]
  i64 experts = 0;
  std::vector<std::vector<i64>> expert_tokens;         ///< per MoE layer [experts], kept assignments
  std::vector<std::vector<i64>> expert_domain_tokens;  ///< per MoE layer [domains x experts]
  std::vector<double> alignment;         ///< per MoE layer: mutual information of expert and domain over domain entropy, 0..1
  double expert_flops_per_token = 0;     ///< forward, kept assignments, summed over layers
};

/// Mutual information of rows and columns of a table of counts, divided by the entropy of the rows; 0 if that is 0.
double normalised_mutual_information(std::span<const i64> table, i64 rows, i64 columns);

/// Correlation of true and predicted labels (Matthews 1975; for more than two classes Gorodkin 2004, eq. 8): 1 perfect, 0 chance. 0 where
/// one side is constant. confusion [classes x classes].
double matthews_correlation(std::span<const i64> confusion);

/// At most `max_windows` windows (0: all), `batch` at a time, cut into `lanes` lanes. The result is the same on every rank and on
/// any number of ranks. collective.
EvalReport evaluate(const model::Model& model, const ParamSet& params, BatchSource& source, const comm::ProcessGrid& grid,
                    i64 lanes, i64 batch, i64 max_windows, PhaseTimes& times);

}  // namespace pleiad::train
