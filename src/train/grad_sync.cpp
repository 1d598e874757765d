#include "pleiad/train/grad_sync.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"

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

}  // namespace

void sync_gradients(ParamSet& params, const LaneLayout& lanes, const comm::ProcessGrid& grid) {
  const std::span<real> dense = params.grads(Owner::replicated);
  const std::size_t size = static_cast<std::size_t>(params.size(Owner::replicated));
  comm::lane_sum<real>(grid.world(), lanes, dense.data(), params.size(Owner::replicated), dense.first(size));
  if (grid.data_groups() > 1) comm::all_reduce_sum<real>(grid.data_group(), params.grads(Owner::expert));
}

double gradient_norm(ParamSet& params, const comm::ProcessGrid& grid) {
  double dense = 0;
  i64 slots = 0;
  for (const ParamInfo& p : params.infos()) slots = std::max(slots, p.slot + (p.row_block() ? p.first_row + p.rows : 1));
  slots = comm::max_over<i64>(grid.world(), slots);
  // One number per expert, from its owner alone: adding the zeros of all others is exact in any order.
  std::vector<double> experts(static_cast<std::size_t>(slots), 0.0);
  for (const ParamInfo& p : params.infos()) {
    if (!p.trainable) continue;
    const std::span<const real> grads = params.slice(p, params.grads(p.owner).first(static_cast<std::size_t>(params.size(p.owner))));
    if (p.row_block()) {
      const std::size_t width = static_cast<std::size_t>(p.cols);
      for (i64 r = 0; r < p.rows && grid.data_group().root(); ++r) {
        experts[p.slot + p.first_row + r] += sum_of_squares(grads.subspan(static_cast<std::size_t>(r) * width, width));
      }
      continue;
    }
    const double sum = sum_of_squares(grads);
    if (p.owner == Owner::replicated) {
      dense += sum;
    } else if (grid.data_group().root()) {
      experts[p.slot] += sum;
    }
  }
  comm::all_reduce_sum<double>(grid.world(), experts);
  for (const double e : experts) dense += e;
  return std::sqrt(dense);
}

}  // namespace pleiad::train
