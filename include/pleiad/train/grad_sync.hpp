// Gradients across ranks, by owner: replicated parameters are summed over lanes along the fixed tree, experts over the ranks of
// their data group (of row-sparse ones the union of the rows, added in rank order); and the norm of all of them, which does not depend
// on the number of ranks: per expert in a fixed order, over the touched rows by an exact sum (core/exact_sum.hpp).
#pragma once
#include "pleiad/comm/lane_sums.hpp"
#include "pleiad/model/context.hpp"

namespace pleiad::train {

/// Leaves the gradient of the whole global batch in lane 0 of every parameter. collective.
void sync_gradients(ParamSet& params, const LaneLayout& lanes, const comm::ProcessGrid& grid);

/// The same while backward is still going on: the block of replicated gradients is summed in buckets of equal size, from its end on, each as soon as backward
/// is through with it. Buckets do not look at parameters, so small models have few messages; every rank begins the same ones in the same order.
class GradientSum : public model::BackwardListener {
 public:
  /// Messages go over a communicator of their own, so they do not meet those of the exchange. `bucket`: numbers in one; 0: as many as go in
  /// short messages. grid, lanes and times must outlive this. collective.
  GradientSum(const comm::ProcessGrid& grid, const LaneLayout& lanes, PhaseTimes& times, i64 bucket = 0);

  /// Before backward; `params` must stay where they are until finish().
  void begin(ParamSet& params);
  void complete_from(ParamId first) override;
  void look_after_messages() override;
  /// After backward: waits for what is not there yet. Leaves what sync_gradients() leaves. collective.
  void finish();

 private:
  void complete_from_offset(i64 offset);

  const comm::ProcessGrid& grid_;
  comm::Communicator channel_;
  PhaseTimes& times_;
  i64 bucket_;
  comm::LaneSums<real> sums_;
  ParamSet* params_ = nullptr;
  i64 begun_from_ = 0;  // of the block of replicated gradients: sums from here on have begun
};

/// Global L2 norm over all trainable parameters, each expert counted once. pre: synced. collective.
double gradient_norm(ParamSet& params, const comm::ProcessGrid& grid);

/// What to multiply gradients with so that their norm is at most `limit` (0: no limit).
inline double clip_scale(double norm, double limit) { return limit > 0 && norm > limit ? limit / norm : 1.0; }

}  // namespace pleiad::train
