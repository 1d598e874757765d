// The answer of a report in words.
#include <algorithm>
#include <cmath>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/report/tables.hpp"

namespace pleiad::report {

namespace {

/// Values of two configurations at the seeds that both have.
std::pair<std::vector<double>, std::vector<double>> at_shared_seeds(const Metric& metric, const std::vector<const Run*>& a,
                                                                    const std::vector<const Run*>& b) {
  std::pair<std::vector<double>, std::vector<double>> pairs;
  for (const Run* x : a) {
    const auto y = std::ranges::find(b, x->seed, [](const Run* run) { return run->seed; });
    if (y == b.end() || !metric.value(*x) || !metric.value(**y)) continue;
    pairs.first.push_back(*metric.value(*x));
    pairs.second.push_back(*metric.value(**y));
  }
  return pairs;
}

std::string value_in_words(const Metric& metric, const std::vector<const Run*>& runs) {
  const Spread s = spread_of(values_of(metric, runs));
  const std::string spread = s.n > 1 ? " ± " + metric.shown(s.deviation) : "";
  const std::string seeds = s.n < static_cast<i64>(runs.size()) ? fmt::format("{} of {}", s.n, runs.size()) : fmt::format("{}", s.n);
  return fmt::format("{}{} {} ({} seed{})", metric.shown(s.mean), spread, metric.unit, seeds, runs.size() == 1 ? "" : "s");
}

}  // namespace

Ranking rank(const Collection& c) {
  Ranking ranking{{}, quality_metric(all_runs(c)), ""};
  std::set<std::string> data;
  std::vector<double> means(c.configurations.size(), NAN);
  for (std::size_t i = 0; i < c.configurations.size(); ++i) {
    const std::vector<const Run*> runs = runs_of(c, c.configurations[i]);
    // A router that looks ahead is no competitor of one that does not.
    if (std::ranges::any_of(runs, [](const Run* run) { return run->summary.looks_ahead; })) continue;
    const Spread s = spread_of(values_of(ranking.quality, runs));
    if (s.n == 0) continue;
    means[i] = s.mean;
    ranking.order.push_back(i);
    for (const Run* run : runs) {
      if (ranking.quality.value(*run)) data.insert(run->data());
    }
  }
  const double sign = ranking.quality.better == Better::higher ? -1 : 1;
  std::ranges::stable_sort(ranking.order, {}, [&](std::size_t i) { return sign * means[i]; });
  if (data.size() > 1) {
    ranking.order.clear();
    ranking.refusal =
        fmt::format("no best one: the runs were not all measured on the same data ({} and {})", *data.begin(), *std::next(data.begin()));
  }
  return ranking;
}

namespace {

/// The difference of two configurations, over the seeds that both have if those are all.
Difference difference_of(const Metric& q, const std::vector<const Run*>& a, const std::vector<const Run*>& b, double confidence, bool& paired) {
  const std::vector<double> x = values_of(q, a), y = values_of(q, b);
  const auto [u, v] = at_shared_seeds(q, a, b);
  paired = u.size() > 1 && u.size() == x.size() && v.size() == y.size();
  return paired ? paired_difference(u, v, confidence) : welch_difference(x, y, confidence);
}

/// Where the third and later ones stand.
std::string others_in_words(const Collection& c, const Ranking& ranking, double confidence) {
  constexpr std::size_t most = 5;
  const std::vector<const Run*> best = runs_of(c, c.configurations[ranking.order[0]]);
  std::vector<std::string> separable;
  for (std::size_t i = 2; i < ranking.order.size(); ++i) {
    const Configuration& other = c.configurations[ranking.order[i]];
    bool paired = false;
    const Difference d = difference_of(ranking.quality, best, runs_of(c, other), confidence, paired);
    if (!d.has_interval) return "";
    if (d.separable()) separable.push_back(other.label);
  }
  const std::size_t others = ranking.order.size() - 2, shown = std::min(most, separable.size());
  std::string words = fmt::format("of the other {}, {} {} separable from the best, each tested by itself", others, separable.empty() ? "none" : fmt::format("{}", separable.size()), separable.size() == 1 ? "is" : "are");
  if (shown > 0) words += fmt::format(": {}", fmt::join(separable.begin(), separable.begin() + static_cast<std::ptrdiff_t>(shown), "; "));
  return ";\n" + words + (separable.size() > shown ? "; ..." : "");
}

}  // namespace

std::string verdict(const Collection& c, double confidence) {
  const Ranking ranking = rank(c);
  if (!ranking.refusal.empty()) return ranking.refusal;
  if (ranking.order.size() < 2) return "";
  const Metric& q = ranking.quality;
  const Configuration &first = c.configurations[ranking.order[0]], &second = c.configurations[ranking.order[1]];
  const std::vector<const Run*> a = runs_of(c, first), b = runs_of(c, second);
  bool paired = false;
  const Difference d = difference_of(q, a, b, confidence, paired);
  std::string words =
      fmt::format("best: {}, {} {}; ", first.label, q.better == Better::higher ? "accuracy" : "loss", value_in_words(q, a));
  words += fmt::format("second: {}, {}; difference {} {}", second.label, value_in_words(q, b), q.shown(std::abs(d.mean)), q.unit);
  if (!d.has_interval) return words + ", without an interval: that needs two seeds of each";
  words += fmt::format(", {:g} % confidence interval {} to {}{}: ", 100 * confidence, q.shown(d.mean < 0 ? -d.high : d.low),
                       q.shown(d.mean < 0 ? -d.low : d.high), paired ? fmt::format(" over {} pairs of seeds", d.n) : ", seeds unpaired");
  words += d.separable() ? "separable" : "not separable";
  return words + (ranking.order.size() > 2 ? others_in_words(c, ranking, confidence) : "");
}

}  // namespace pleiad::report
