#include "pleiad/app/time_budget.hpp"

#include <chrono>
#include <cstdlib>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::app {

TimeBudgetConfig TimeBudgetConfig::read(Spec& checkpoint) {
  TimeBudgetConfig c;
  c.budget = checkpoint.text("time_budget", "auto", "how long the run may take before it saves and ends with exit code 75: a time in SLURM's notation, such as 1:30:00 or 90 (minutes); auto: until the end of its SLURM job; none");
  c.reserve = checkpoint.number("time_reserve", 60, 0, 1e9, "seconds of it to be left over, beside a step and a save; at most a tenth of the budget");
  if (c.budget == "auto" || c.budget == "none") return c;
  c.seconds = seconds_of_time_limit(c.budget);
  if (c.seconds <= 0) user_error("checkpoint.time_budget = {}: must be auto, none, or a time such as 90 (minutes), 1:30:00 (hours:minutes:seconds) or 1-12 (days-hours)", c.budget);
  return c;
}

TimeBudget::TimeBudget(const TimeBudgetConfig& config) {
  double left = static_cast<double>(config.seconds);
  words_ = "checkpoint.time_budget = " + config.budget;
  if (config.budget == "auto") {
    const char* end = std::getenv("SLURM_JOB_END_TIME");
    const i64 at = end ? std::strtoll(end, nullptr, 10) : 0;
    if (at <= 0) return;
    using std::chrono::system_clock, std::chrono::duration;
    left = static_cast<double>(at) - duration<double>(system_clock::now().time_since_epoch()).count();
    words_ = "the end of the SLURM job";
  } else if (config.budget == "none") {
    return;
  }
  limited_ = true;
  end_ = Stopwatch::now() + left;
  reserve_ = std::min(config.reserve, 0.1 * std::max(left, 0.0));
}

bool TimeBudget::spent() {
  const double now = Stopwatch::now();
  if (asked_ >= 0) longest_ = std::max(longest_, now - asked_);
  asked_ = now;
  spent_ = spent_ || (limited_ && now + 2 * longest_ + reserve_ >= end_);
  return spent_;
}

}  // namespace pleiad::app
