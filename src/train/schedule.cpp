#include "pleiad/train/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pleiad::train {

Schedule Schedule::read(Spec& s, i64 steps) {
  Schedule c;
  const std::string word = s.choice("schedule", "cosine", {"constant", "cosine", "inverse_sqrt"}, "learning rate after the warm-up");
  c.kind = word == "constant" ? Kind::constant : word == "cosine" ? Kind::cosine : Kind::inverse_sqrt;
  c.peak = s.number("learning_rate", 1e-3, 0, 1e3, "learning rate at the end of the warm-up");
  c.floor = s.number("final_learning_rate", 0.1, 0, 1, "cosine: the last rate as a fraction of learning_rate");
  c.warmup = s.integer("warmup_steps", 0, 0, i64{1} << 40, "steps of linear warm-up");
  c.steps = steps;
  return c;
}

double Schedule::at(i64 step) const {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (kind == Kind::inverse_sqrt) return peak * std::sqrt(static_cast<double>(std::max<i64>(warmup, 1)) / static_cast<double>(std::max<i64>(step + 1, 1)));
  if (kind == Kind::constant) return peak;
  const double length = static_cast<double>(std::max<i64>(steps - warmup, 1));
  const double done = std::min(1.0, static_cast<double>(step - warmup) / length);
  return peak * (floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * done)));
}

}  // namespace pleiad::train
