// Timing by turns: what is measured and its roof run alternately, so that both see the same machine at the same time; only their ratio
// means anything on a machine that is shared. A sample is the longest time of all ranks. Read next: roofs.hpp.
#pragma once
#include <functional>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::bench {

/// Median and quartiles of some samples; NaN without any.
struct Spread {
  double median = 0, lower = 0, upper = 0, least = 0;
  i64 samples = 0;
};
/// Between two samples quantiles are interpolated linearly (Hyndman and Fan 1996, definition 7).
Spread spread_of(std::vector<double> samples);

struct Sampling {
  i64 warmup = 2;        ///< turns that are not counted
  i64 repeats = 9;       ///< samples
  double seconds = 30;   ///< after that long no further sample is begun, but at least k_least_samples are taken
  std::function<void(i64 sample, i64 samples)> progress = {};  ///< called before every sample
};
inline constexpr i64 k_least_samples = 3;

/// Something to be timed. collective where `run` is.
struct Timed {
  std::function<void()> run;
  std::function<void()> prepare = {};  ///< before every run, outside the time
};

/// Times by turns: roofs, subject, roofs, ..., subject, roofs.
struct Contest {
  std::vector<double> subject;             ///< seconds
  std::vector<double> roof;                ///< one sample more than the subject has
  std::vector<std::vector<double>> others; ///< of further roofs, likewise

  Spread subject_seconds() const { return spread_of(subject); }
  Spread roof_seconds() const { return spread_of(roof); }
  /// Work per second of the subject over that of the roof, each sample against the mean of the roof before and after it.
  Spread ratio(double subject_work, double roof_work) const { return ratio_to(roof, subject_work, roof_work); }
  /// The same for one of `others`.
  Spread ratio_to(const std::vector<double>& roof_samples, double subject_work, double roof_work) const;
};

/// Longest time of all ranks for one run, in seconds: that of `calls` runs over `calls`. collective.
double time_once(const comm::Communicator& world, const Timed& timed, i64 calls = 1);

/// Warms up, then takes turns; `others` are further roofs. collective.
Contest take_turns(const comm::Communicator& world, const Sampling& sampling, const Timed& subject, const Timed& roof, const std::vector<Timed>& others = {});

/// The same for a subject that times itself: `sample` makes one sample and gives its seconds and those that it took in all (`spent`), the
/// same on every rank. collective.
struct SelfTimed {
  double seconds = 0, spent = 0;
};
Contest take_turns(const comm::Communicator& world, const Sampling& sampling, const std::function<SelfTimed()>& sample, const Timed& roof, const std::vector<Timed>& others);

}  // namespace pleiad::bench
