#include "pleiad/bench/probe.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/bench/measurement.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::bench {

namespace {

constexpr i64 k_most_runs = 10000;
constexpr double k_seconds_between_reports = 0.5;

double own_seconds(const comm::Communicator& world, const Probe& probe, i64 runs) {
  comm::barrier(world);
  const Stopwatch watch;
  for (i64 i = 0; i < runs; ++i) probe.run();
  return watch.seconds() / static_cast<double>(runs);
}

}  // namespace

double seconds_left(const Rounds& rounds, i64 probes, i64 done, double elapsed) {
  const double each = elapsed / static_cast<double>(std::max<i64>(done, 1));
  const auto until = [&](i64 count) { return each * static_cast<double>(std::max<i64>(count * probes - done, 0)); };
  return std::min(until(rounds.most), std::max(rounds.seconds - elapsed, until(rounds.least)));
}

void time_in_rounds(const comm::Communicator& world, const Rounds& rounds, std::vector<Probe>& probes) {
  const Stopwatch watch;
  const i64 count = static_cast<i64>(probes.size());
  double reported = -1;
  i64 done = 0;
  const auto report = [&] {
    ++done;
    const double elapsed = watch.seconds();
    if (!rounds.progress || elapsed - reported < k_seconds_between_reports) return;
    reported = elapsed;
    const double left = seconds_left(rounds, count, done, elapsed);
    rounds.progress(elapsed / (elapsed + left), left);
  };
  std::vector<i64> runs;
  for (const Probe& p : probes) {
    own_seconds(world, p, 1);  // the first run meets memory that nobody has touched
    const double seconds = comm::max_over<double>(world, own_seconds(world, p, 1));
    runs.push_back(std::clamp<i64>(std::llround(std::ceil(rounds.sample_seconds / std::max(seconds, 1e-9))), 1, k_most_runs));
  }
  std::vector<std::vector<double>> samples(probes.size());
  for (i64 r = 0; r < rounds.most && (r < rounds.least || comm::max_over<double>(world, watch.seconds()) < rounds.seconds); ++r) {
    for (std::size_t i = 0; i < probes.size(); ++i) {
      samples[i].push_back(own_seconds(world, probes[i], runs[i]));
      report();
    }
  }
  std::vector<double> sums;  // of each probe: seconds, ranks that count
  for (std::size_t i = 0; i < probes.size(); ++i) {
    sums.push_back(probes[i].counts ? spread_of(samples[i]).median : 0);
    sums.push_back(probes[i].counts ? 1 : 0);
  }
  comm::all_reduce_sum<double>(world, sums);
  for (std::size_t i = 0; i < probes.size(); ++i) {
    PLEIAD_CHECK(sums[2 * i + 1] > 0, "nobody measures {}", probes[i].group);
    probes[i].seconds = sums[2 * i] / sums[2 * i + 1];
  }
}

std::vector<double> rates_of(const std::vector<Probe>& probes, const std::string& group) {
  std::vector<double> rates;
  for (const Probe& p : probes) {
    if (p.group == group) rates.push_back(p.work / std::max(p.seconds, 1e-12));
  }
  return rates;
}

// With weights 1/y^2 the normal equations are those of a x/y + b/y = 1.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  PLEIAD_CHECK(x.size() == y.size() && x.size() > 1, "a line through {} and {} numbers", x.size(), y.size());
  double ww = 0, wx = 0, xx = 0, w = 0, xs = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double one = 1 / y[i], at = x[i] / y[i];
    ww += one * one;
    wx += one * at;
    xx += at * at;
    w += one;
    xs += at;
  }
  const double determinant = ww * xx - wx * wx;
  const Line line{(w * xx - xs * wx) / determinant, (ww * xs - wx * w) / determinant};
  if (line.at_zero < 0) return {0, xs / xx};
  if (line.per_unit < 0) return {w / ww, 0};
  return line;
}

}  // namespace pleiad::bench
