#include "pleiad/sim/demand.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"

namespace pleiad::sim {

namespace {

// Above so many experts of a token the polynomials cost more than they tell: selections are then taken as independent of each other.
constexpr i64 k_most_exact_choices = 128;

/// The order of the experts, the busiest first.
std::vector<i64> draw_order(std::uint64_t seed, i64 layer, i64 number, i64 experts) {
  std::vector<i64> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), i64{0});
  const Stream draw = Stream::named(seed, Purpose::simulation, fmt::format("order {} of layer {}", number, layer));
  for (i64 i = experts - 1; i > 0; --i) std::swap(order[i], order[draw.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i + 1))]);
  return order;
}

/// Of `n` independent tries with probability p those that succeed, made of uniform and normal draw number `index`.
double draw_binomial(const Stream& draw, std::uint64_t index, double n, double p) {
  if (p <= 0 || n <= 0) return 0;
  if (p >= 1) return n;
  if (p > 0.5) return n - draw_binomial(draw, index, n, 1 - p);
  const double mean = n * p, variance = mean * (1 - p);
  if (variance > 25) return std::clamp(std::round(mean + std::sqrt(variance) * draw.normal(index)), 0.0, n);
  double left = draw.uniform(index), mass = std::exp(n * std::log1p(-p)), hits = 0;
  while (left > mass && hits < n) {
    left -= mass;
    mass *= (n - hits) / (hits + 1) * p / (1 - p);
    ++hits;
  }
  return hits;
}

class MadeUp : public Demand {
 public:
  MadeUp(const Skew& skew, const DemandShape& shape) : skew_(skew), shape_(shape) {
    const double n = static_cast<double>(shape.experts);
    if (skew.kind == Skew::Kind::hot) {
      const double hot = std::min({1.0, skew.share * shape.choices, shape.choices});
      sorted_.assign(static_cast<std::size_t>(shape.experts), shape.experts > 1 ? std::min(1.0, (shape.choices - hot) / (n - 1)) : 0);
      sorted_.front() = hot;
    } else {
      sorted_ = zipf_shares(shape.experts, shape.choices, skew.kind == Skew::Kind::uniform ? 0 : skew.exponent);
    }
  }

  MadeUp(std::vector<std::vector<double>> counted, const DemandShape& shape) : shape_(shape), counted_(std::move(counted)) {}

  std::string what() const override {
    if (!counted_.empty()) return "made up, experts as busy as counted";
    switch (skew_.kind) {
      case Skew::Kind::uniform: return "made up, experts alike";
      case Skew::Kind::zipf: return fmt::format("made up, Zipf with exponent {}", skew_.exponent);
      case Skew::Kind::hot: return fmt::format("made up, one expert with {} of all assignments", skew_.share);
      case Skew::Kind::drift: return fmt::format("made up, Zipf with exponent {} in an order that turns into another one in {} steps", skew_.exponent, skew_.count);
      case Skew::Kind::domains: return fmt::format("made up, {} domains, each Zipf with exponent {} in an order of its own", skew_.count, skew_.exponent);
    }
    return "";
  }
  i64 profiles() const override { return skew_.kind == Skew::Kind::domains ? skew_.count : 1; }
  i64 profile_of(i64 sequence, i64 step) const override {
    if (profiles() == 1) return 0;
    const Stream draw = Stream::named(shape_.seed, Purpose::simulation, fmt::format("domains of step {}", step));
    return static_cast<i64>(draw.below(static_cast<std::uint64_t>(sequence), static_cast<std::uint64_t>(profiles())));
  }

  std::vector<double> expert_rows(const Occasion& at, std::span<const i64> sequences) const override {
    std::vector<double> rows(static_cast<std::size_t>(shape_.experts), 0.0);
    double tokens = 0;
    for (i64 p = 0; p < profiles(); ++p) {
      const double tries = static_cast<double>(sequences[p] * shape_.seq_len * shape_.heads);
      const std::vector<double> share = asked(at, p);
      const Stream draw = Stream::named(shape_.seed, Purpose::simulation, fmt::format("rows of layer {}, step {}, group {}, profile {}", at.layer, at.step, at.group, p));
      double drawn = 0, expected = 0;
      std::vector<double> of_profile(rows.size());
      for (std::size_t e = 0; e < rows.size(); ++e) {
        of_profile[e] = draw_binomial(draw, e, tries, share[e]);
        drawn += of_profile[e];
        expected += tries * share[e];
      }
      // Every token has its K experts: together they have as many rows as there are assignments.
      for (std::size_t e = 0; e < rows.size() && drawn > 0; ++e) rows[e] += of_profile[e] * expected / drawn;
      tokens += static_cast<double>(sequences[p] * shape_.seq_len);
    }
    if (shape_.capacity > 0) {
      for (double& r : rows) r = std::min(r, shape_.capacity * tokens);
    }
    return rows;
  }

  Reach reach(const Occasion& at, std::span<const std::int32_t> place_of_expert, i64 places) const override {
    Reach r{places, std::vector<float>(static_cast<std::size_t>(profiles() * places)), std::vector<float>(static_cast<std::size_t>(profiles() * places))};
    const double tokens = static_cast<double>(shape_.seq_len), heads = static_cast<double>(shape_.heads);
    for (i64 p = 0; p < profiles(); ++p) {
      const std::vector<double> share = shares(at, p);
      const double choices = std::accumulate(share.begin(), share.end(), 0.0);
      const std::vector<double> chance = chance_of_place(share, choices, place_of_expert, places);
      std::vector<double> entries(static_cast<std::size_t>(places), 0.0);
      for (std::size_t e = 0; e < share.size(); ++e) entries[place_of_expert[e]] += share[e];
      for (i64 j = 0; j < places; ++j) {
        const std::size_t i = static_cast<std::size_t>(p * places + j), place = static_cast<std::size_t>(j);
        r.rows[i] = static_cast<float>(tokens * (heads == 1 ? chance[place] : 1 - std::pow(1 - chance[place], heads)));
        r.entries[i] = static_cast<float>(tokens * heads * entries[place]);
      }
    }
    return r;
  }

 private:
  /// Of each expert, under the capacity.
  std::vector<double> shares(const Occasion& at, i64 profile) const {
    std::vector<double> share = asked(at, profile);
    for (double& s : share) s = shape_.capacity > 0 && counted_.empty() ? std::min(s, shape_.capacity) : s;
    return share;
  }

  /// What tokens ask for.
  std::vector<double> asked(const Occasion& at, i64 profile) const {
    if (!counted_.empty()) return counted_[static_cast<std::size_t>(at.layer) % counted_.size()];
    std::vector<double> share(sorted_.size());
    const auto add = [&](i64 number, double weight) {
      const std::vector<i64> order = draw_order(shape_.seed, at.layer, number, shape_.experts);
      for (std::size_t i = 0; i < order.size(); ++i) share[order[i]] += weight * sorted_[i];
    };
    if (skew_.kind == Skew::Kind::drift) {
      const double turn = static_cast<double>(at.step % skew_.count) / static_cast<double>(skew_.count);
      add(at.step / skew_.count, 1 - turn);
      if (turn > 0) add(at.step / skew_.count + 1, turn);
    } else {
      add(profile, 1);
    }
    return share;
  }

  Skew skew_;
  DemandShape shape_;
  std::vector<double> sorted_;  // shares, the busiest expert first
  std::vector<std::vector<double>> counted_;  // shares of each layer, in place of these
};

class Replayed : public Demand {
 public:
  explicit Replayed(Recording recording) : recording_(std::move(recording)) {
    PLEIAD_CHECK(recording_.sequences > 0 && !recording_.layers.empty(), "a recording of {} sequences and {} layers", recording_.sequences, recording_.layers.size());
  }
  std::string what() const override { return recording_.what; }
  i64 profiles() const override { return recording_.sequences; }
  i64 profile_of(i64 sequence, i64) const override { return sequence % recording_.sequences; }

  std::vector<double> expert_rows(const Occasion& at, std::span<const i64> sequences) const override {
    std::vector<double> rows(static_cast<std::size_t>(recording_.experts), 0.0);
    const Recording::Layer& layer = layer_of(at);
    for (i64 s = 0; s < recording_.sequences; ++s) {
      const i64 first = layer.offset[s * recording_.seq_len], last = layer.offset[(s + 1) * recording_.seq_len];
      for (i64 i = first; i < last && sequences[s] > 0; ++i) rows[layer.expert[i]] += static_cast<double>(sequences[s]);
    }
    return rows;
  }

  Reach reach(const Occasion& at, std::span<const std::int32_t> place_of_expert, i64 places) const override {
    Reach r{places, std::vector<float>(static_cast<std::size_t>(profiles() * places)), std::vector<float>(static_cast<std::size_t>(profiles() * places))};
    const Recording::Layer& layer = layer_of(at);
    std::vector<i64> seen(static_cast<std::size_t>(places), -1);  // the last token with an expert there
    for (i64 t = 0; t < recording_.sequences * recording_.seq_len; ++t) {
      for (i64 i = layer.offset[t]; i < layer.offset[t + 1]; ++i) {
        const std::int32_t place = place_of_expert[layer.expert[i]];
        const std::size_t at_place = static_cast<std::size_t>(t / recording_.seq_len * places + place);
        r.entries[at_place] += 1;
        if (std::exchange(seen[place], t) != t) r.rows[at_place] += 1;
      }
    }
    return r;
  }

 private:
  const Recording::Layer& layer_of(const Occasion& at) const { return recording_.layers[static_cast<std::size_t>(at.layer) % recording_.layers.size()]; }

  Recording recording_;
};

}  // namespace

Skew Skew::parse(const std::string& text, const std::string& where) {
  const std::vector<std::string> names = {"uniform", "zipf", "hot", "drift", "domains"};
  const std::size_t colon = text.find(':');
  const auto it = std::ranges::find(names, text.substr(0, colon));
  std::vector<double> numbers;
  bool good = it != names.end();
  for (std::size_t at = colon; good && at != std::string::npos;) {
    const std::size_t comma = text.find(',', at + 1), end = std::min(comma, text.size());
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data() + at + 1, text.data() + end, value);
    good = error == std::errc{} && stop == text.data() + end && std::isfinite(value);
    numbers.push_back(value);
    at = comma;
  }
  Skew s;
  if (good) s.kind = static_cast<Kind>(it - names.begin());
  const std::size_t needed = s.kind == Kind::uniform ? 0 : s.kind == Kind::zipf || s.kind == Kind::hot ? 1 : 2;
  good = good && numbers.size() == needed;
  if (good && s.kind == Kind::hot) {
    s.share = numbers[0];
    good = s.share > 0 && s.share <= 1;
  } else if (good && needed > 0) {
    s.exponent = numbers[0];
    good = s.exponent >= 0 && s.exponent <= 10;
  }
  if (good && needed == 2) {
    const double most = s.kind == Kind::drift ? 1e9 : 4096;
    good = numbers[1] >= 1 && numbers[1] <= most && std::floor(numbers[1]) == numbers[1];
    s.count = static_cast<i64>(good ? numbers[1] : 1);
  }
  if (!good) {
    user_error("{} {}: must be uniform, zipf:EXPONENT (0 to 10), hot:SHARE (above 0, to 1), drift:EXPONENT,STEPS or domains:EXPONENT,COUNT (1 to 4096), such as zipf:1.2", where, text);
  }
  return s;
}

std::vector<double> zipf_shares(i64 experts, double choices, double exponent) {
  PLEIAD_CHECK(choices > 0 && choices <= static_cast<double>(experts), "{} of {} experts", choices, experts);
  std::vector<double> share(static_cast<std::size_t>(experts));
  double sum = 0;
  for (std::size_t i = share.size(); i-- > 0;) sum += share[i] = std::pow(static_cast<double>(i + 1), -exponent);
  // The first ones may have more than every token: they get just that, and the others what is left.
  double left = choices;
  std::size_t full = 0;
  while (full < share.size() && left * share[full] >= sum * (1 - 1e-12)) {
    sum -= share[full];
    share[full++] = 1;
    left -= 1;
  }
  for (std::size_t i = full; i < share.size(); ++i) share[i] = std::min(1.0, share[i] * left / sum);
  return share;
}

namespace {

/// Probabilities of 0 .. K successes among independent tries, as coefficients; what is above K is cut off.
using Polynomial = std::vector<double>;

void multiply(Polynomial& a, std::span<const double> b) {
  const std::size_t top = a.size() - 1;
  for (std::size_t n = top + 1; n-- > 0;) {
    double sum = 0;
    for (std::size_t i = 0; i <= n && i < b.size(); ++i) sum += b[i] * a[n - i];
    a[n] = sum;
  }
}

}  // namespace

std::vector<double> chance_of_place(std::span<const double> share, double choices, std::span<const std::int32_t> place_of_expert, i64 places) {
  const std::size_t most = static_cast<std::size_t>(std::min(std::ceil(choices), static_cast<double>(share.size())));
  std::vector<double> chance(static_cast<std::size_t>(places));
  if (static_cast<i64>(most) > k_most_exact_choices) {
    std::vector<double> none(chance.size(), 1.0);
    for (std::size_t e = 0; e < share.size(); ++e) none[place_of_expert[e]] *= 1 - share[e];
    for (std::size_t j = 0; j < chance.size(); ++j) chance[j] = 1 - none[j];
    return chance;
  }
  // Successes inside each place, then in the places from each one on.
  std::vector<Polynomial> inside(chance.size(), {1.0});
  for (std::size_t e = 0; e < share.size(); ++e) {
    Polynomial& p = inside[place_of_expert[e]];
    if (p.size() <= most) p.push_back(0);
    const double factor[2] = {1 - share[e], share[e]};
    multiply(p, factor);
  }
  Polynomial whole(most + 1, 0.0);
  whole[0] = 1;
  std::vector<Polynomial> behind(chance.size() + 1, whole);
  for (std::size_t j = chance.size(); j-- > 0;) {
    behind[j] = behind[j + 1];
    multiply(behind[j], inside[j]);
  }
  const double fewer = std::ceil(choices) - choices;  // of the tokens have one expert less than the others
  Polynomial before = whole;
  for (std::size_t j = 0; j < chance.size(); ++j) {
    const auto none_of = [&](std::size_t k) {
      double elsewhere = 0;
      for (std::size_t i = 0; i <= k; ++i) elsewhere += before[i] * behind[j + 1][k - i];
      return inside[j][0] * (behind[0][k] > 0 ? elsewhere / behind[0][k] : 1);
    };
    chance[j] = std::clamp(1 - (fewer > 0 ? (1 - fewer) * none_of(most) + fewer * none_of(most - 1) : none_of(most)), 0.0, 1.0);
    multiply(before, inside[j]);
  }
  return chance;
}

std::unique_ptr<Demand> make_up(const Skew& skew, const DemandShape& shape) { return std::make_unique<MadeUp>(skew, shape); }
std::unique_ptr<Demand> as_often(std::vector<std::vector<double>> share, const DemandShape& shape) { return std::make_unique<MadeUp>(std::move(share), shape); }

std::unique_ptr<Demand> replay(Recording recording) { return std::make_unique<Replayed>(std::move(recording)); }

}  // namespace pleiad::sim
