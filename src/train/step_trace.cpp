#include "pleiad/train/step_trace.hpp"

#include <cmath>

#include "pleiad/comm/at_root.hpp"

namespace pleiad::train {

i64 epoch_of_stopwatch() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count() - std::llround(Stopwatch::now() * 1e9);
}

StepTrace gather_trace(const comm::Communicator& world, const std::vector<PhaseInterval>& phases, const PhaseInterval& step, i64 epoch) {
  // Whole nanoseconds, so that one interval ends exactly where the next begins.
  const auto at = [epoch](double seconds) { return std::llround(seconds * 1e9) + epoch; };
  constexpr std::size_t each = 4;
  std::vector<i64> mine;
  if (world.rank() < k_most_traced_ranks) {
    mine = {StepTrace::k_whole_step, -1, at(step.begin), at(step.end)};
    for (const PhaseInterval& p : phases) mine.insert(mine.end(), {static_cast<i64>(p.phase), p.block, at(p.begin), at(p.end)});
  }
  std::vector<i64> counts;
  const std::vector<i64> all = comm::at_root(world, mine, &counts);
  StepTrace trace;
  std::size_t from = 0;
  for (std::size_t rank = 0; rank < counts.size(); ++rank) {
    for (const std::size_t end = from + static_cast<std::size_t>(counts[rank]); from < end; from += each) {
      trace.events.push_back({static_cast<i64>(rank), all[from], all[from + 1], all[from + 2], all[from + 3]});
    }
  }
  return trace;
}

}  // namespace pleiad::train
