#include "pleiad/bench/measurement.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/clock.hpp"

namespace pleiad::bench {

namespace {

/// A sample shorter than this would measure the clock and the barrier.
constexpr double k_least_seconds = 2e-3;
constexpr i64 k_most_calls = 100000;

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t below = static_cast<std::size_t>(at), above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Runs it as often as it takes to warm up and says how many calls make a sample. The same on every rank, as the times are.
i64 warm_up(const comm::Communicator& world, const Timed& timed, i64 runs) {
  double seconds = 0;
  for (i64 i = 0; i < std::max<i64>(runs, 1); ++i) seconds = time_once(world, timed);
  if (timed.prepare || seconds >= k_least_seconds) return 1;
  return std::clamp(static_cast<i64>(std::ceil(k_least_seconds / std::max(seconds, 1e-9))), i64{1}, k_most_calls);
}

}  // namespace

Spread spread_of(std::vector<double> samples) {
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  if (samples.empty()) return {nothing, nothing, nothing, nothing, 0};
  std::ranges::sort(samples);
  return {quantile(samples, 0.5), quantile(samples, 0.25), quantile(samples, 0.75), samples.front(), static_cast<i64>(samples.size())};
}

Spread Contest::ratio_to(const std::vector<double>& roof_samples, double subject_work, double roof_work) const {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < subject.size(); ++i) {
    ratios.push_back(subject_work / subject[i] * (0.5 * (roof_samples[i] + roof_samples[i + 1])) / roof_work);
  }
  return spread_of(ratios);
}

double time_once(const comm::Communicator& world, const Timed& timed, i64 calls) {
  if (timed.prepare) timed.prepare();
  comm::barrier(world);
  const Stopwatch watch;
  for (i64 i = 0; i < calls; ++i) timed.run();
  return comm::max_over<double>(world, watch.seconds()) / static_cast<double>(calls);
}

Contest take_turns(const comm::Communicator& world, const Sampling& sampling, const Timed& subject, const Timed& roof, const std::vector<Timed>& others) {
  const i64 calls = warm_up(world, subject, sampling.warmup);
  const auto sample = [&] {
    const double seconds = time_once(world, subject, calls);
    return SelfTimed{seconds, seconds * static_cast<double>(calls)};
  };
  return take_turns(world, sampling, sample, roof, others);
}

Contest take_turns(const comm::Communicator& world, const Sampling& sampling, const std::function<SelfTimed()>& sample, const Timed& roof,
                   const std::vector<Timed>& others) {
  Contest contest;
  contest.others.resize(others.size());
  std::vector<i64> calls;
  for (const Timed& other : others) calls.push_back(warm_up(world, other, sampling.warmup));
  const i64 roof_calls = warm_up(world, roof, sampling.warmup);
  double spent = 0;  // of timed seconds: the same on every rank, so all stop at the same sample
  const auto time_roof = [&](const Timed& timed, i64 times, std::vector<double>& into) {
    into.push_back(time_once(world, timed, times));
    spent += into.back() * static_cast<double>(times);
  };
  const auto time_roofs = [&] {
    for (std::size_t i = 0; i < others.size(); ++i) time_roof(others[i], calls[i], contest.others[i]);
    time_roof(roof, roof_calls, contest.roof);
  };
  time_roofs();
  for (i64 i = 0; i < sampling.repeats && (i < k_least_samples || spent < sampling.seconds); ++i) {
    if (sampling.progress) sampling.progress(i, sampling.repeats);
    const SelfTimed t = sample();
    contest.subject.push_back(t.seconds);
    spent += t.spent;
    time_roofs();
  }
  return contest;
}

}  // namespace pleiad::bench
