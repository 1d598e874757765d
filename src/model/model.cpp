#include "pleiad/model/model.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/lane_sum.hpp"
#include "pleiad/model/classifier.hpp"
#include "pleiad/model/language_model.hpp"

namespace pleiad::model {

std::unique_ptr<Model> make_model(Task task, i64 classes, ParamSet& params, const ModelConfig& config, Spec& moe, const MoeConfig& moe_config,
                                  const comm::ProcessGrid& grid, const exchange::Exchanger& exchanger) {
  if (task == Task::classifier) return std::make_unique<Classifier>(params, config, classes, moe, moe_config, grid, exchanger);
  return std::make_unique<LanguageModel>(params, config, moe, moe_config, grid, exchanger, task);
}

void Model::mark_padding(const Batch& batch, const StepContext& context, ModelTrace& trace) {
  const LaneLayout& lanes = context.lanes;
  const i64 sequences = lanes.my_sequences().count, length = lanes.seq_len();
  PLEIAD_CHECK(batch.length.empty() || static_cast<i64>(batch.length.size()) == sequences, "{} lengths for {} sequences", batch.length.size(), sequences);
  const i64 mine = batch.length.empty() ? lanes.my_tokens() : std::accumulate(batch.length.begin(), batch.length.end(), i64{0});
  trace.real_in_batch = comm::sum_over<i64>(context.grid.world(), mine);
  trace.real_tokens.clear();
  if (trace.real_in_batch == lanes.tokens()) {
    trace.real_in_batch = -1;
    return;
  }
  trace.real_tokens.assign(batch.input.size(), batch.length.empty() ? 1 : 0);
  for (std::size_t s = 0; s < batch.length.size(); ++s) {
    std::fill_n(trace.real_tokens.begin() + static_cast<i64>(s) * length, batch.length[s], std::uint8_t{1});
  }
}

StepContext Model::with_padding(const StepContext& context, const ModelTrace& trace) {
  StepContext c = context;
  c.real_tokens = trace.real_tokens;
  c.real_in_batch = trace.real_in_batch;
  return c;
}

LossReport Model::report(const ModelTrace& trace, const Batch& batch, const StepContext& context) const {
  const i64 tokens_per_target = context.lanes.seq_len() / targets_per_sequence(context.lanes.seq_len());
  const std::vector<double> sums = comm::lane_statistics(context.grid.world(), context.lanes, 2, [&](i64 lane, double* row) {
    const Range rows = context.lanes.local_rows(lane);
    for (i64 t = rows.begin / tokens_per_target; t < rows.end() / tokens_per_target; ++t) {
      row[0] += trace.loss[t];
      row[1] += batch.target[t] >= 0;
    }
  });
  LossReport r;
  r.targets = static_cast<i64>(sums[1]);
  r.task = sums[0] / std::max(sums[1], 1.0);
  trunk_.add_auxiliary(trace, r);
  return r;
}

}  // namespace pleiad::model
