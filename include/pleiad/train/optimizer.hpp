// AdamW (Loshchilov and Hutter 2019, algorithm 2): decoupled weight decay, bias-corrected moments. Dense: an expert without tokens
// has gradient zero, but its moments and its decay go on. Element by element, so the result does not depend on who owns what.
// Row-sparse parameters (ParamInfo::row_block) have moments only for rows that ever had a gradient; see SparseAdam.
#pragma once
#include "pleiad/core/param.hpp"
#include "pleiad/core/spec.hpp"

namespace pleiad::train {

/// What happens to the rows of a row-sparse parameter in an update in which they have no gradient.
///   dense  what AdamW does everywhere else, bit for bit: moments decay, the remaining momentum moves the row, decay acts.
///   lazy   nothing. In the next update with a gradient the moments are first multiplied by beta^(missed updates), so they are those
///          of dense Adam; bias correction counts all updates. Left out are the moves that momentum would have made in the missed
///          updates, and weight decay in them.
enum class SparseAdam { lazy, dense };

struct AdamConfig {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
  SparseAdam sparse = SparseAdam::lazy;
  double router_rate = 1;  ///< multiplies the learning rate of what decides where tokens go: scores of experts, queries, sub-keys
  /// Reads train.beta1, beta2, adam_eps, weight_decay, router_learning_rate, sparse_adam.
  static AdamConfig read(Spec& train);
};

/// Moments of the rows of one row-sparse parameter that ever had a gradient.
struct RowMoments {
  SparseRows rows;          ///< by row of this rank: first moments [cols], then second moments [cols]
  std::vector<i64> update;  ///< by slot of `rows`: the update up to which the moments have come
};

class Adam {
 public:
  /// Moments start at zero and are laid out like the values of `params`, those of row-sparse parameters beside.
  Adam(const AdamConfig& config, const ParamSet& params);

  /// One update of every trainable parameter from gradient lane 0, multiplied by grad_scale; `update` counts from 1. Local.
  void step(ParamSet& params, double learning_rate, double grad_scale, i64 update);

  /// First and second moments, laid out like the first ParamSet::grad_size(owner) numbers of ParamSet::values(owner).
  std::span<real> first(Owner owner) { return m_[index(owner)].span(); }
  std::span<real> second(Owner owner) { return v_[index(owner)].span(); }
  /// pre: a row_block() parameter.
  RowMoments& row_moments(ParamId id) { return row_moments_[static_cast<std::size_t>(id.index)]; }

 private:
  struct Factors;
  struct Update;
  class Missed;
  void step_rows(ParamSet& params, const ParamInfo& p, const Update& u, Missed& missed);

  static int index(Owner owner) { return owner == Owner::replicated ? 0 : 1; }
  AdamConfig config_;
  Buffer<real> m_[2], v_[2];
  std::vector<RowMoments> row_moments_;  // [parameters], empty for all but row blocks
};

}  // namespace pleiad::train
