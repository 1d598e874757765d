#include "pleiad/core/clock.hpp"

#include <fmt/format.h>

#include "pleiad/core/whereabouts.hpp"

namespace pleiad {

std::string duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return fmt::format("{:g} s", seconds);
  const i64 s = static_cast<i64>(seconds + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  if (s >= 60) return fmt::format("{}:{:02}", s / 60, s % 60);
  return fmt::format("{} s", s);
}

const char* phase_name(Phase p) {
  switch (p) {
    case Phase::data: return "data";
    case Phase::embed: return "embed";
    case Phase::attention: return "attention";
    case Phase::norm: return "norm";
    case Phase::router: return "router";
    case Phase::plan: return "plan";
    case Phase::exchange: return "exchange";
    case Phase::expert: return "expert";
    case Phase::dense_ffn: return "dense_ffn";
    case Phase::head: return "head";
    case Phase::grad_sync: return "grad_sync";
    case Phase::optimizer: return "optimizer";
    case Phase::evaluate: return "evaluate";
    case Phase::checkpoint: return "checkpoint";
    case Phase::metrics: return "metrics";
    case Phase::count: break;
  }
  return "other";
}

void PhaseTimes::switch_to(Phase p) {
  const double t = Stopwatch::now();
  if (current_ != Phase::count) {
    seconds_[static_cast<int>(current_)] += t - since_;
    if (noting_) intervals_.push_back({current_, block_, since_, t});
  }
  current_ = p;
  since_ = t;
  if (p != Phase::count) whereabouts().move_to(static_cast<int>(p), block_);
}

void PhaseTimes::reset() {
  for (double& s : seconds_) s = 0;
  intervals_.clear();
  since_ = Stopwatch::now();
}

PhaseTimes::Scope::Scope(PhaseTimes& times, Phase phase) : times_(times), outer_(times.current_) { times_.switch_to(phase); }
PhaseTimes::Scope::~Scope() { times_.switch_to(outer_); }

}  // namespace pleiad
