#include "pleiad/bench/step_check.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/bench/layer_check.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/train/grad_sync.hpp"

namespace pleiad::bench {

namespace {

// By how many nats the loss is to change; a quarter of that, and again, while so many tokens change their experts that less than this share of the
// targets is left. A few targets and a step that is large beside the rounding of single precision tell more than many and a small one.
constexpr double k_change = 1e-3, k_least_change = 1e-6, k_least_share = 1.0 / 64;
constexpr double k_allowed = sizeof(real) == 4 ? 3e-3 : 1e-6;

enum Kind { k_embedding, k_self_attention, k_norm, k_dense, k_expert, k_router, k_head, k_kinds };

Kind kind_of(const ParamInfo& p) {
  const auto within = [&](const char* part) { return p.name.find(part) != std::string::npos; };
  if (p.owner == Owner::expert) return k_expert;
  if (p.name == model::k_embedding) return k_embedding;
  if (p.name.starts_with(model::k_head)) return k_head;
  if (p.router) return k_router;
  return within("/attn/") ? k_self_attention : within("norm") ? k_norm : k_dense;
}

/// A way through the parameters of this rank: rows of some of them, and how each number of these changes.
class Direction {
 public:
  /// Along the gradient, each kind of parameters so far that to first order the loss changes by the same part of 1. collective.
  Direction(ParamSet& params, const comm::ProcessGrid& grid) : params_(params), group_(grid.expert_group()) {
    double square[k_kinds] = {};
    for (const ParamInfo& p : params.infos()) {
      if (!p.trainable) continue;
      const auto add = [&](i64 row, const real* gradient) {
        rows_.push_back({&p, row, static_cast<i64>(change_.size())});
        for (i64 j = 0; j < p.cols; ++j) {
          change_.push_back(static_cast<double>(gradient[j]));
          square[kind_of(p)] += change_.back() * change_.back();
        }
      };
      if (p.row_block()) {
        SparseRows& grads = params.row_grads(ParamId{p.index});
        for (i64 slot = 0; slot < grads.count(); ++slot) add(grads.touched()[static_cast<std::size_t>(slot)], grads.at(slot));
      } else {
        for (i64 r = 0; r < p.rows; ++r) add(r, params.grad(ParamId{p.index}).row(r));
      }
    }
    square[k_expert] = comm::sum_over<double>(group_, square[k_expert]);  // the others are the same on every rank
    const auto kinds = static_cast<double>(std::ranges::count_if(square, [](double s) { return s > 0; }));
    for (const Row& row : rows_) {
      const double part = square[kind_of(*row.of)];
      for (i64 j = 0; part > 0 && j < row.of->cols; ++j) change_[static_cast<std::size_t>(row.at + j)] /= part * kinds;
    }
  }

  void move(double by) const {
    for (const Row& row : rows_) {
      real* value = params_.value(ParamId{row.of->index}).row(row.row);
      for (i64 j = 0; j < row.of->cols; ++j) value[j] += static_cast<real>(by * change_[static_cast<std::size_t>(row.at + j)]);
    }
  }

  /// How fast the loss changes along it, by the gradient that the parameters have now. collective.
  double slope() const {
    double replicated = 0, owned = 0;
    for (const Row& row : rows_) {
      const ParamId id{row.of->index};
      const real* gradient = nullptr;
      if (!row.of->row_block()) {
        gradient = params_.grad(id).row(row.row);
      } else if (const i64 slot = params_.row_grads(id).slot(row.row); slot >= 0) {
        gradient = params_.row_grads(id).at(slot);
      }
      double& sum = row.of->owner == Owner::expert ? owned : replicated;
      for (i64 j = 0; gradient && j < row.of->cols; ++j) sum += static_cast<double>(gradient[j]) * change_[static_cast<std::size_t>(row.at + j)];
    }
    return replicated + comm::sum_over<double>(group_, owned);
  }

 private:
  struct Row {
    const ParamInfo* of;
    i64 row, at;
  };
  ParamSet& params_;
  const comm::Communicator& group_;
  std::vector<Row> rows_;
  std::vector<double> change_;
};

/// The experts of every token of this rank, layer by layer.
std::vector<std::vector<std::int32_t>> experts_of(const model::Model& model, const model::ModelTrace& trace) {
  std::vector<std::vector<std::int32_t>> all;
  for (const i64 block : model.moe_layers()) {
    const routing::Assignment& a = trace.blocks[static_cast<std::size_t>(block)].moe.router->assignment;
    for (i64 t = 0; t < a.tokens(); ++t) all.push_back(kept_experts(a, t));
  }
  return all;
}

}  // namespace

Check check_gradient(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, const LaneLayout& lanes, model::Batch batch,
                     std::uint64_t seed) {
  PhaseTimes times;
  model::StepContext context{grid, lanes, times, seed, 0, false};
  context.auxiliary = 0;
  model::ModelTrace trace;
  const auto gradient = [&] {
    params.zero_grads();
    model.forward(params, batch, context, trace);
    model.backward(params, batch, context, trace);
    train::sync_gradients(params, lanes, grid);
  };
  params.allocate_grads(lanes.my_lanes().count);
  gradient();
  const Direction direction(params, grid);
  const auto here = experts_of(model, trace);
  const std::vector<std::int32_t> targets = batch.target;
  const i64 length = model.targets_per_sequence(lanes.seq_len()), tokens = lanes.my_tokens();
  const bool looks_back = predicts_next(model.task()) && model.causal();

  double sums[3] = {};  // what the loss changes by, of the counted targets; their number; that of all
  double change = k_change;
  for (;; change /= 4) {
    batch.target = targets;
    std::vector<double> loss[2];
    std::vector<std::uint8_t> moved(static_cast<std::size_t>(tokens), 0);
    for (const int end : {0, 1}) {
      direction.move(end ? 2 * change : -change);
      model.forward(params, batch, context, trace);
      loss[end] = trace.loss;
      const auto there = experts_of(model, trace);
      for (std::size_t i = 0; i < there.size(); ++i) moved[i % static_cast<std::size_t>(tokens)] |= there[i] != here[i];
    }
    direction.move(-change);
    std::ranges::fill(sums, 0.0);
    for (i64 s = 0; s < lanes.my_sequences().count; ++s) {
      const auto first = moved.begin() + s * lanes.seq_len(), end = first + lanes.seq_len(), jump = std::find(first, end, std::uint8_t{1});
      const i64 good = jump == end ? length : looks_back && length > 1 ? jump - first : 0;
      for (i64 i = 0; i < length; ++i) {
        const auto t = static_cast<std::size_t>(s * length + i);
        if (targets[t] < 0) continue;
        if (i >= good) batch.target[t] = -1;
        sums[0] += i < good ? loss[1][t] - loss[0][t] : 0;
        sums[1] += i < good;
        ++sums[2];
      }
    }
    comm::all_reduce_sum<double>(grid.world(), sums);
    if (sums[1] >= k_least_share * sums[2] || change < k_least_change) break;
  }
  gradient();
  const double found = direction.slope(), right = sums[0] / sums[1] / (2 * change);
  params.zero_grads();
  return {fmt::format("gradient of the loss of {} targets along a direction against differences", static_cast<i64>(sums[1])), std::abs(found - right) / std::abs(right),
          k_allowed};
}

}  // namespace pleiad::bench
