#include "pleiad/train/metrics.hpp"

#include <algorithm>
#include <cmath>

namespace pleiad::train {

LoadFigures load_figures(std::span<const i64> tokens, std::span<const double> flops_per_row) {
  LoadFigures f;
  const double n = static_cast<double>(tokens.size());
  double sum = 0, flops = 0, most = 0, most_flops = 0, squares = 0;
  for (std::size_t e = 0; e < tokens.size(); ++e) {
    const double t = static_cast<double>(tokens[e]), work = t * flops_per_row[e];
    sum += t;
    squares += t * t;
    flops += work;
    most = std::max(most, t);
    most_flops = std::max(most_flops, work);
  }
  if (sum <= 0) return f;
  const double mean = sum / n;
  f.imbalance = most / mean;
  f.flops_imbalance = most_flops / (flops / n);
  f.variation = std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean;
  if (tokens.size() > 1) {
    double h = 0;
    for (const i64 t : tokens) {
      if (t > 0) h -= static_cast<double>(t) / sum * std::log(static_cast<double>(t) / sum);
    }
    f.entropy = h / std::log(n);
  }
  return f;
}

}  // namespace pleiad::train
