#include "pleiad/sweep/plan.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"

namespace pleiad::sweep {

namespace {

constexpr double k_patience = 10;  // seconds of looking for a bracket

}  // namespace

std::string in_words(const std::vector<Setting>& settings) {
  std::vector<std::string> parts;
  for (const Setting& s : settings) parts.push_back(s.key + " = " + s.value);
  return fmt::format("{}", fmt::join(parts, ", "));
}

i64 solve_whole(const std::function<double(i64)>& f, double target, i64 start, i64 step) {
  std::map<i64, double> known;  // in steps
  const auto at = [&](i64 n) {
    const auto found = known.find(n);
    return found != known.end() ? found->second : known.emplace(n, f(n * step)).first->second;
  };
  const i64 most = (i64{1} << 40) / step;
  i64 low = std::clamp<i64>(start / step, 1, most), high = low;
  // A bracket: f(low) <= target < f(high).
  const Stopwatch watch;  // what does not come near the target by doubling costs more and more
  while (at(high) <= target && high < most && watch.seconds() < k_patience) {
    low = high;
    high = std::min(most, high * 2);
    // Ten doublings without an effect: the key has none.
    if (high >= 1024 * std::max<i64>(1, start / step) && at(high) == at(std::max<i64>(1, start / step))) break;
  }
  while (at(low) > target && low > 1) {
    high = low;
    low = std::max<i64>(1, low / 2);
  }
  // The chord is exact for straight lines; a step to either side of where it hits closes the bracket. Halving guards against others.
  for (bool chord = true; high - low > 1; chord = !chord) {
    const double slope = (at(high) - at(low)) / static_cast<double>(high - low);
    const double hit = (target - at(low)) / slope;  // not a number where the bracket ends at a value that no run takes
    const bool usable = chord && slope > 0 && std::isfinite(hit);
    const i64 guess = low + (usable ? static_cast<i64>(std::clamp(hit, 0.0, static_cast<double>(high - low))) : (high - low) / 2);
    for (const i64 n : {std::clamp(guess, low + 1, high - 1), std::clamp(guess + 1, low + 1, high - 1)}) {
      if (n <= low || n >= high) continue;
      (at(n) <= target ? low : high) = n;
    }
  }
  return (std::abs(at(high) - target) < std::abs(at(low) - target) ? high : low) * step;
}

namespace {

constexpr std::size_t k_longest_words = 72;

double quantity_of(const Resolved& r, const std::string& quantity) {
  if (quantity == "total_parameters") return r.total_parameters;
  if (quantity == "active_parameters") return r.active_parameters;
  return quantity == "training_flops" ? r.training_flops : r.flops_per_token;
}

std::vector<Setting> joined(std::vector<Setting> a, const std::vector<Setting>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

i64 ranks_of(const std::vector<Setting>& point, i64 otherwise) {
  for (const Setting& s : point) {
    if (s.key != "ranks") continue;
    i64 ranks = 0;
    const auto [end, error] = std::from_chars(s.value.data(), s.value.data() + s.value.size(), ranks);
    if (error != std::errc{} || end != s.value.data() + s.value.size() || ranks < 1 || ranks > (i64{1} << 24)) {
      user_error("ranks = {}: must be a whole number from 1 to {}", s.value, i64{1} << 24);
    }
    return ranks;
  }
  return otherwise;
}

/// Without the ranks, which are no option of a configuration.
std::vector<Setting> options_of(std::vector<Setting> point) {
  std::erase_if(point, [](const Setting& s) { return s.key == "ranks"; });
  return point;
}

/// Chooses the free key of one combination.
class Constraint {
 public:
  Constraint(const Definition& definition, Resolver& resolver) : definition_(definition), resolver_(resolver), equal_(*definition.equal) {}

  std::string solve(const std::vector<Setting>& point, i64 ranks) {
    if (target_ < 0) target_ = equal_.target ? *equal_.target : value({}, definition_.ranks, "the base configuration");
    const std::vector<Setting> options = options_of(point);
    const i64 first = start(options, ranks);
    std::string refusal;  // of a value that no run takes: out of bounds, seen from where the search begins
    const auto at = [&](i64 n) {
      try {
        return value(joined(options, {{equal_.solve, fmt::format("{}", n)}}), ranks, in_words(point));
      } catch (const UserError& e) {
        refusal = e.what();
        return n > first ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
      }
    };
    const i64 n = solve_whole(at, target_, first, equal_.multiple_of);
    if (!std::isfinite(at(n))) user_error("[equal] {}: while looking for it: {}; multiple_of in [equal] restricts the values that are tried", equal_.solve, refusal);
    const double deviation = std::abs(at(n) - target_) / target_;
    if (deviation > equal_.tolerance) {
      if (at(n) == at(8 * n)) user_error("[equal] solve = {}: does not change {} here", equal_.solve, equal_.quantity);
      user_error("[equal] {} = {:.6g}: no {}{} comes within {} %; {} gives {:.6g}", equal_.quantity, target_, equal_.solve,
                 equal_.multiple_of > 1 ? fmt::format(" that is a multiple of {}", equal_.multiple_of) : "", 100 * equal_.tolerance, n, at(n));
    }
    return fmt::format("{}", n);
  }

 private:
  double value(const std::vector<Setting>& options, i64 ranks, const std::string& what) {
    const Resolved r = resolver_.resolve(joined(definition_.set, options), ranks, equal_.mean_k);
    if (!r.knows_k && equal_.quantity != "total_parameters") {
      user_error("[equal] {}: with {} the data decide how many experts a token gets; mean_k in [equal] says how many to count with", equal_.quantity, what);
    }
    return quantity_of(r, equal_.quantity);
  }

  /// What the key is without a constraint, if it is a number.
  i64 start(const std::vector<Setting>& options, i64 ranks) {
    const std::map<std::string, std::string> all = resolver_.resolve(joined(definition_.set, options), ranks, equal_.mean_k).options;
    const auto found = all.find(equal_.solve);
    if (found == all.end()) user_error("[equal] solve = {}: there is no such option{}", equal_.solve, options.empty() ? "" : " with " + in_words(options));
    i64 n = 0;
    const auto [end, error] = std::from_chars(found->second.data(), found->second.data() + found->second.size(), n);
    if (error != std::errc{} || end != found->second.data() + found->second.size()) {
      user_error("[equal] solve = {}: is {} in the configuration; only a whole number can be solved for", equal_.solve, found->second);
    }
    return n;
  }

  const Definition& definition_;
  Resolver& resolver_;
  const Equal& equal_;
  double target_ = -1;
};

/// Letters, digits, dots and dashes: experts-8_k-2_seed-1.
std::string readable(const std::vector<Setting>& point, i64 seed) {
  std::string words;
  for (const Setting& s : point) words += s.key.substr(s.key.find('.') + 1) + "-" + s.value + "_";
  words += fmt::format("seed-{}", seed);
  for (char& c : words) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_') c = '-';
  }
  return words.substr(0, k_longest_words);
}

io::SweepPoint make_point(const std::vector<Setting>& settings, const Resolved& r, i64 seed, i64 ranks) {
  io::SweepPoint p;
  for (const Setting& s : settings) p.settings[s.key] = s.value;
  p.seed = seed;
  p.ranks = ranks;
  p.identity = r.identity;
  p.id = io::sha256(fmt::format("{}\nranks={}\n", r.identity, ranks));
  p.config_sum = io::sha256(r.config);
  p.name = readable(settings, seed) + "_" + p.id.substr(0, 12);
  p.sizes["total_parameters"] = r.total_parameters;
  if (r.knows_k) {
    p.sizes["active_parameters"] = r.active_parameters;
    p.sizes["flops_per_token"] = r.flops_per_token;
    p.sizes["training_flops"] = r.training_flops;
  }
  return p;
}

std::vector<i64> seeds_of(const Definition& d, const Resolved& base) {
  if (!d.seeds.empty()) return d.seeds;
  std::vector<i64> seeds;
  for (i64 r = 0; r < d.repeats; ++r) seeds.push_back(std::stoll(base.options.at("train.seed")) + r);
  return seeds;
}

}  // namespace

Plan make_plan(const Definition& d, Resolver& resolver) {
  Plan plan;
  plan.index.keys = d.keys();
  const std::optional<double> mean_k = d.equal ? d.equal->mean_k : std::nullopt;
  std::optional<Constraint> constraint;
  if (d.equal) constraint.emplace(d, resolver);
  std::set<std::string> names;
  for (i64 number = 0; number < d.combinations(); ++number) {
    std::vector<Setting> point = d.combination(number);
    const std::string what = in_words(point);
    try {
      const i64 ranks = ranks_of(point, d.ranks);
      if (constraint) point.push_back({d.equal->solve, constraint->solve(point, ranks)});
      const std::vector<Setting> options = joined(d.set, options_of(point));
      for (const i64 seed : seeds_of(d, resolver.resolve(options, ranks, mean_k))) {
        const Resolved r = resolver.resolve(joined(options, {{"train.seed", fmt::format("{}", seed)}}), ranks, mean_k);
        io::SweepPoint p = make_point(point, r, seed, ranks);
        if (!names.insert(p.name).second) continue;  // random samples of few values repeat themselves
        plan.index.points.push_back(std::move(p));
        plan.configs.push_back(r.config);
      }
    } catch (const UserError& e) {
      user_error("point {}: {}", what.empty() ? "of the base configuration" : "with " + what, e.what());
    }
  }
  return plan;
}

}  // namespace pleiad::sweep
