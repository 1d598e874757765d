// Which rank owns which expert, decided anew during training: the load is measured, and experts move with their moments between two steps
// when the time that saves is more than the move takes. Results do not depend on it (docs/numerics.md). Read next: trainer.hpp.
#pragma once
#include <functional>
#include <optional>

#include "pleiad/train/checkpoint.hpp"
#include "pleiad/train/layer_figures.hpp"
#include "pleiad/train/metrics.hpp"

namespace pleiad::train {

struct PlacementConfig {
  /// worth: where the predicted gain exceeds the predicted cost. always: whatever it costs.
  enum class When { never, worth, always } when = When::never;
  i64 every = 50;  ///< steps between two looks
  /// Reads rebalance and rebalance_every of [parallel].
  static PlacementConfig read(Spec& parallel);
};

/// Owner of each expert, by MoE layer.
using Owners = std::vector<std::vector<i64>>;

/// Builds the model again over other owners: adds its parameters to `fresh` (not allocated yet). The model before is gone afterwards.
/// collective over the world.
using RebuildModel = std::function<const model::Model&(const Owners& owners, ParamSet& fresh)>;

/// Measures the load of the experts and proposes owners. The same on all ranks.
class LoadBalancer {
 public:
  /// UserError if the experts of `model` cannot move.
  LoadBalancer(const PlacementConfig& config, const model::Model& model, const LayerFacts& facts, const comm::ProcessGrid& grid);

  /// One step's load, and the seconds of all ranks in the expert phase, [ranks].
  void count(const std::vector<const model::LayerStatistics*>& layers, std::span<const double> expert_seconds);
  /// Whether this is the step for a look, with `left` steps to go.
  bool due(i64 step, i64 left) const { return left > 0 && step % config_.every == 0; }

  struct Proposal {
    Owners owners;
    PlacementRecord record;  ///< step and what a move takes are still missing
    bool worth_it = false;
  };
  /// For the load since the last look, which is forgotten. collective over the world.
  Proposal look(const model::Model& model, i64 left);
  /// How long a move took in truth.
  void note_move(i64 bytes, double seconds);

 private:
  PlacementConfig config_;
  const LayerFacts& facts_;
  const comm::ProcessGrid& grid_;
  std::vector<std::vector<double>> flops_;  // [MoE layers x N] forward, since the last look
  i64 steps_ = 0;
  double expert_seconds_ = 0;               // sum over ranks and steps
  double bytes_per_second_ = 1e9;           // of a move; measured from the second one on
};

/// Gives `fresh` and `fresh_adam` (both allocated, of the model rebuilt over `after`) the values and moments of `params` and `adam` (over
/// `before`). Returns the bytes that went from rank to rank. collective over the expert group.
i64 move_experts(ParamSet& params, Adam& adam, const Owners& before, ParamSet& fresh, Adam& fresh_adam, const Owners& after,
                 const model::Model& model, const comm::Communicator& group);

/// Owners that a model has.
Owners owners_of(const model::Model& model);

}  // namespace pleiad::train
