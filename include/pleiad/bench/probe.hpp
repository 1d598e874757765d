// Times of many small pieces of work, done by all ranks at once and in rounds: every round times every piece, so that a disturbance spoils one
// sample of many pieces and not all samples of one. Read next: machine_probes.hpp.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"

namespace pleiad::bench {

struct Probe {
  std::string group;          ///< what it is a measurement of
  double work = 0;            ///< of one run, in the unit of its group
  std::function<void()> run;  ///< may communicate: every rank runs it equally often
  bool counts = true;         ///< whether the time of this rank does
  double seconds = 0;         ///< of one run, once it is measured: the mean over the ranks that count of the median of each
};

struct Rounds {
  double seconds = 30;         ///< after that long no further round is begun, but `least` are made
  i64 least = 3, most = 25;
  double sample_seconds = 2e-3;  ///< a sample has as many runs as that takes
  std::function<void(double done, double left)> progress = {};  ///< share that is done, seconds that are left; now and then
};

/// Seconds that are left when `done` of `probes` x rounds samples took `elapsed` seconds.
double seconds_left(const Rounds& rounds, i64 probes, i64 done, double elapsed);

/// Sets the seconds of all probes, the same on every rank. collective.
void time_in_rounds(const comm::Communicator& world, const Rounds& rounds, std::vector<Probe>& probes);

/// Work per second of the probes of a group, in their order. pre: they are measured.
std::vector<double> rates_of(const std::vector<Probe>& probes, const std::string& group);

/// A straight line.
struct Line {
  double at_zero = 0, per_unit = 0;
};
/// The line nearest to the points in the sum of the squares of relative deviations, neither of its numbers below 0: seconds of messages over their bytes.
/// pre: as many x as y, at least two different x, y above 0.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace pleiad::bench
