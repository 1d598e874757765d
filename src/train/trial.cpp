#include "pleiad/train/trial.hpp"

#include <algorithm>

#include "pleiad/core/memory.hpp"

namespace pleiad::train {

namespace {

constexpr i64 k_rounds = 2;

}  // namespace

TrialMemory try_step(const TrainConfig& config, const model::Model& model, TrainState& state, BatchSource& source, const comm::ProcessGrid& grid, i64 sequences,
                     i64 windows) {
  const Stopwatch watch;
  return_freed_memory();
  forget_peak();
  TrialMemory m;
  m.sequences = sequences;
  m.before = process_memory().resident;
  const i64 in_use = heap_in_use();
  const LaneLayout lanes(config.lanes, sequences, model.config().seq_len, grid.world().size(), grid.world().rank());
  PhaseTimes times;  // not those of the run
  GradientSum gradients(grid, lanes, times);
  model::ModelTrace trace;
  // More than one, of different batches: the heap settles only when blocks are used again, and for other numbers of rows.
  for (i64 round = 0; round < k_rounds; ++round) {
    const model::Batch batch = source.training(state.data_cursor() + round, lanes);
    model::StepContext context{grid, lanes, times, config.seed, state.step + round, true};
    context.listener = &gradients;
    state.params.zero_grads();
    model.forward(state.params, batch, context, trace);
    gradients.begin(state.params);
    model.backward(state.params, batch, context, trace);
    gradients.finish();
  }
  m.kept = heap_in_use() - in_use;
  m.step = process_memory().peak;
  // As in the loop, while the trace of the step is there.
  if (windows > 0) evaluate(model, state.params, source, grid, config.lanes, sequences, std::min(windows, k_rounds * sequences), times);
  m.whole = process_memory().peak;
  m.shared = process_memory().shared;
  m.seconds = watch.seconds();
  return m;
}

TrialMemory extended(const TrialMemory& one, const TrialMemory& two, i64 sequences) {
  if (two.sequences == one.sequences) return two;
  const double rest = static_cast<double>(sequences - two.sequences) / static_cast<double>(two.sequences - one.sequences);
  const auto line = [&](i64 a, i64 b) { return b + static_cast<i64>(rest * static_cast<double>(std::max<i64>(b - a, 0))); };
  TrialMemory m = two;
  m.sequences = sequences;
  m.step = line(one.step, two.step);
  m.whole = line(one.whole, two.whole);
  m.kept = line(one.kept, two.kept);
  m.shared = line(one.shared, two.shared);
  return m;
}

}  // namespace pleiad::train
