#include "pleiad/train/grad_sync.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/core/exact_sum.hpp"

namespace pleiad::train {

namespace {

/// Sum of squares in double on 16 accumulators: the order depends on the length only.
double sum_of_squares(std::span<const real> v) {
  double part[16] = {};
  const std::size_t whole = v.size() / 16 * 16;
  for (std::size_t i = 0; i < whole; i += 16) {
    for (std::size_t j = 0; j < 16; ++j) part[j] += static_cast<double>(v[i + j]) * static_cast<double>(v[i + j]);
  }
  for (std::size_t i = whole; i < v.size(); ++i) part[i - whole] += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  double sum = 0;
  for (const double p : part) sum += p;
  return sum;
}

/// Row-sparse gradients of a data group: the rows that any of its ranks touched, their values added in the order of the ranks.
void sum_rows(SparseRows& grads, const comm::Communicator& group) {
  const i64 width = grads.width();
  const std::vector<i64> my_rows = grads.touched();
  std::vector<real> mine;
  mine.reserve(static_cast<std::size_t>(grads.count() * width));
  for (i64 s = 0; s < grads.count(); ++s) mine.insert(mine.end(), grads.at(s), grads.at(s) + width);
  grads.clear();
  std::vector<i64> rows;
  std::vector<real> values;
  const std::vector<i64> counts = comm::all_gather<i64>(group, std::vector<i64>{static_cast<i64>(my_rows.size())});
  for (i64 rank = 0; rank < group.size(); ++rank) {  // one at a time: memory for one rank's rows, whatever the size of the group
    const bool own = rank == group.rank();
    rows.resize(static_cast<std::size_t>(counts[rank]));
    values.resize(static_cast<std::size_t>(counts[rank] * width));
    if (own) std::ranges::copy(my_rows, rows.begin()), std::ranges::copy(mine, values.begin());
    comm::broadcast<i64>(group, rows, rank);
    comm::broadcast<real>(group, values, rank);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      real* sum = grads.touch(rows[i]);
      for (i64 j = 0; j < width; ++j) sum[j] += values[i * static_cast<std::size_t>(width) + static_cast<std::size_t>(j)];
    }
  }
}

void sum_experts(ParamSet& params, const comm::ProcessGrid& grid) {
  if (grid.data_groups() == 1) return;
  comm::all_reduce_sum<real>(grid.data_group(), params.grads(Owner::expert));
  for (const ParamInfo& p : params.infos()) {
    if (p.row_block()) sum_rows(params.row_grads({p.index}), grid.data_group());
  }
}

}  // namespace

void sync_gradients(ParamSet& params, const LaneLayout& lanes, const comm::ProcessGrid& grid) {
  const std::span<real> dense = params.grads(Owner::replicated);
  const std::size_t size = static_cast<std::size_t>(params.size(Owner::replicated));
  comm::lane_sum<real>(grid.world(), lanes, dense.data(), params.size(Owner::replicated), dense.first(size));
  sum_experts(params, grid);
}

GradientSum::GradientSum(const comm::ProcessGrid& grid, const LaneLayout& lanes, PhaseTimes& times, i64 bucket)
    : grid_(grid), channel_(grid.world().split(0, grid.world().rank())), times_(times), bucket_(bucket ? bucket : comm::LaneSums<real>::in_short_messages(grid.world())), sums_(channel_, lanes) {}

void GradientSum::begin(ParamSet& params) {
  params_ = &params;
  begun_from_ = params.size(Owner::replicated);
}

void GradientSum::complete_from(ParamId first) {
  PhaseTimes::Scope phase(times_, Phase::grad_sync);
  complete_from_offset(params_->info(first).offset);
  sums_.advance();
}

void GradientSum::look_after_messages() {
  if (!sums_.under_way()) return;
  PhaseTimes::Scope phase(times_, Phase::grad_sync);
  sums_.advance();
}

void GradientSum::finish() {
  PhaseTimes::Scope phase(times_, Phase::grad_sync);
  complete_from_offset(0);
  sums_.finish();
  sum_experts(*params_, grid_);
}

/// Begins the buckets that lie behind `offset`; at 0 also the last one, which may be smaller.
void GradientSum::complete_from_offset(i64 offset) {
  while (begun_from_ - bucket_ >= offset || (offset == 0 && begun_from_ > 0)) {
    const i64 from = std::max<i64>(begun_from_ - bucket_, 0);
    sums_.begin(params_->grads(Owner::replicated).data() + from, params_->size(Owner::replicated), begun_from_ - from);
    begun_from_ = from;
  }
}

double gradient_norm(ParamSet& params, const comm::ProcessGrid& grid) {
  double dense = 0;
  i64 slots = 0;
  for (const ParamInfo& p : params.infos()) slots = std::max(slots, p.slot + 1);
  slots = comm::max_over<i64>(grid.world(), slots);
  // One number per expert, from its owner alone: adding the zeros of all others is exact in any order.
  std::vector<double> experts(static_cast<std::size_t>(slots), 0.0);
  ExactSum rows;  // of a million rows, by their owners
  for (const ParamInfo& p : params.infos()) {
    if (!p.trainable) continue;
    if (p.row_block()) {
      const SparseRows& grads = params.row_grads({p.index});
      for (i64 s = 0; s < grads.count() && grid.data_group().root(); ++s) {
        rows.add(sum_of_squares({grads.at(s), static_cast<std::size_t>(p.cols)}));
      }
      continue;
    }
    const double sum = sum_of_squares(params.grad({p.index}).flat());
    if (p.owner == Owner::replicated) {
      dense += sum;
    } else if (grid.data_group().root()) {
      experts[p.slot] += sum;
    }
  }
  comm::all_reduce_sum<double>(grid.world(), experts);
  for (const double e : experts) dense += e;
  comm::all_reduce_sum<i64>(grid.world(), rows.digits());
  return std::sqrt(dense + rows.value());
}

}  // namespace pleiad::train
