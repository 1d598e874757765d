#include "pleiad/train/generate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad::train {

namespace {

std::int32_t draw_token(std::span<const real> log_p, const SampleOptions& o, i64 position) {
  std::vector<std::int32_t> order(log_p.size());
  std::iota(order.begin(), order.end(), 0);
  const i64 vocab = static_cast<i64>(order.size());
  const i64 keep = o.temperature == 0 ? 1 : o.top_k > 0 ? std::min(o.top_k, vocab) : vocab;
  std::partial_sort(order.begin(), order.begin() + keep, order.end(),
                    [&](std::int32_t a, std::int32_t b) { return log_p[a] != log_p[b] ? log_p[a] > log_p[b] : a < b; });
  if (keep == 1) return order.front();
  std::vector<double> weight;
  double total = 0;
  for (i64 i = 0; i < keep; ++i) {
    weight.push_back(std::exp((log_p[order[i]] - log_p[order[0]]) / o.temperature));
    total += weight.back();
  }
  double left = Stream(o.seed, Purpose::sampling).uniform(static_cast<std::uint64_t>(position)) * total;
  i64 i = 0;
  while (i + 1 < keep && left > weight[i]) left -= weight[i++];
  return order[i];
}

}  // namespace

std::vector<std::int32_t> generate(const model::Model& model, const ParamSet& params, std::vector<std::int32_t> text,
                                   const SampleOptions& options, const comm::ProcessGrid& grid) {
  PLEIAD_CHECK(!text.empty(), "generation without a prompt");
  PhaseTimes times;
  model::ModelTrace trace;
  for (i64 i = 0; i < options.tokens; ++i) {
    const i64 length = std::min(static_cast<i64>(text.size()), model.config().seq_len);
    // One sequence in one lane: it lives on the rank that owns the lane, the others take part with their experts.
    const LaneLayout lanes(1, 1, length, grid.world().size(), grid.world().rank());
    model::Batch batch;
    std::int32_t next = -1;
    if (lanes.my_tokens() > 0) {
      batch.input.assign(text.end() - length, text.end());
      batch.target.assign(batch.input.size(), -1);
    }
    model.forward(params, batch, {grid, lanes, times, options.seed, i, false}, trace);
    if (lanes.my_tokens() > 0) {
      next = draw_token({trace.log_p.row(length - 1), static_cast<std::size_t>(model.config().vocab)}, options, static_cast<i64>(text.size()));
    }
    text.push_back(comm::max_over<std::int32_t>(grid.world(), next));
  }
  return text;
}

}  // namespace pleiad::train
