#include "pleiad/sweep/definition.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "pleiad/core/error.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/core/spec.hpp"

namespace pleiad::sweep {

namespace {

constexpr i64 k_most_points = 100'000;
constexpr const char* k_unset = "-";  // a value: leave the key as the base has it

std::string trimmed(const std::string& s) {
  const std::size_t begin = s.find_first_not_of(" \t\r"), end = s.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : s.substr(begin, end - begin + 1);
}

/// What stands between the bars.
std::vector<std::string> values_of(const Entry& e, const std::string& file) {
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin <= e.value.size();) {
    const std::size_t bar = std::min(e.value.find('|', begin), e.value.size());
    values.push_back(trimmed(e.value.substr(begin, bar - begin)));
    if (values.back().empty()) user_error("{}: [{}] {} = {}: an empty value; values are separated by '|', such as 4 | 8 | 16", file, e.section, e.key, e.value);
    begin = bar + 1;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (e.section == "grid" && std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) != values.begin() + static_cast<std::ptrdiff_t>(i)) {
      user_error("{}: [grid] {} = {}: {} stands there twice", file, e.key, e.value, values[i]);
    }
  }
  return values;
}

double number_of(const std::string& text, const Entry& e, const std::string& file) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    user_error("{}: [{}] {} = {}: '{}' is not a number", file, e.section, e.key, e.value, text);
  }
  return value;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = text.find_first_not_of(" \t"); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(" \t", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(" \t", end);
  }
  return words;
}

RandomAxis random_axis(const Entry& e, const std::string& file) {
  using Kind = RandomAxis::Kind;
  const auto bad = [&] {
    user_error("{}: [random] {} = {}: must be 'uniform LOW HIGH', 'log LOW HIGH', 'integer LOW HIGH' or 'choice A | B | C'", file, e.key, e.value);
  };
  RandomAxis axis;
  axis.key = e.key;
  const std::vector<std::string> words = words_of(e.value);
  if (words.empty()) bad();
  if (words[0] == "choice") {
    axis.kind = Kind::choice;
    axis.choices = values_of({e.section, e.key, trimmed(trimmed(e.value).substr(6))}, file);
    return axis;
  }
  if (words.size() != 3) bad();
  if (words[0] == "log") {
    axis.kind = Kind::log;
  } else if (words[0] == "integer") {
    axis.kind = Kind::integer;
  } else if (words[0] != "uniform") {
    bad();
  }
  axis.low = number_of(words[1], e, file);
  axis.high = number_of(words[2], e, file);
  if (axis.low > axis.high) user_error("{}: [random] {} = {}: {} is larger than {}", file, e.key, e.value, words[1], words[2]);
  if (axis.kind == Kind::log && axis.low <= 0) user_error("{}: [random] {} = {}: a logarithmic range must begin above 0", file, e.key, e.value);
  if (axis.kind == Kind::integer && (std::floor(axis.low) != axis.low || std::floor(axis.high) != axis.high)) {
    user_error("{}: [random] {} = {}: both ends must be whole numbers", file, e.key, e.value);
  }
  return axis;
}

/// A key that points may differ in.
void require_key(const Entry& e, const std::string& file) {
  if (e.key == "ranks" || (e.key.find('.') != std::string::npos && e.key != "train.seed")) return;
  if (e.key == "train.seed") user_error("{}: [{}] train.seed: seeds stand in [sweep], as seeds = 1 | 2 | 3 or repeats = 3", file, e.section);
  user_error("{}: [{}] {}: must be section.key, such as moe.experts, or ranks", file, e.section, e.key);
}

void read_sweep(Spec& s, const std::string& file, Definition& d) {
  d.base = s.text("base", "", "path of the base configuration, from the folder of the sweep file");
  if (d.base.empty()) user_error("{}: [sweep] base is missing: the path of the base configuration", file);
  d.ranks = s.integer("ranks", 1, 1, i64{1} << 24, "MPI ranks of a point");
  d.repeats = s.integer("repeats", 1, 1, k_most_points, "seeds of each configuration, from train.seed of the base on");
  const bool both = s.has("seeds") && s.has("repeats");
  if (const std::string seeds = s.text("seeds", "", "seeds of each configuration, separated by |"); !seeds.empty()) {
    if (both) user_error("{}: [sweep] seeds and repeats are both given: give one of the two", file);
    for (const std::string& word : values_of({"sweep", "seeds", seeds}, file)) {
      Spec one("sweep", {{"seeds", word}});
      d.seeds.push_back(one.integer("seeds", 1, 0, std::numeric_limits<i64>::max(), "a seed"));
    }
    std::vector<i64> sorted = d.seeds;
    std::ranges::sort(sorted);
    if (std::ranges::adjacent_find(sorted) != sorted.end()) user_error("{}: [sweep] seeds = {}: a seed stands there twice", file, seeds);
  }
  d.samples = s.integer("samples", 0, 0, k_most_points, "samples of [random]");
  d.sampling_seed = static_cast<std::uint64_t>(s.integer("sampling_seed", 1, 0, std::numeric_limits<i64>::max(), "seed of the samples"));
  s.finish();
}

Equal read_equal(Spec& s, const std::string& file) {
  Equal e;
  e.quantity = s.choice("quantity", "flops_per_token", {"flops_per_token", "training_flops", "total_parameters", "active_parameters"}, "what all points have in common");
  e.solve = s.text("solve", "moe.expert_width", "the whole-number key that is chosen so that they have");
  if (e.solve.find('.') == std::string::npos) user_error("{}: [equal] solve = {}: must be section.key, such as moe.expert_width", file, e.solve);
  if (e.solve == "train.seed") user_error("{}: [equal] solve = train.seed: a seed is no size", file);
  const double most = std::numeric_limits<double>::max();
  if (s.has("to") && s.text("to", "base", "") != "base") e.target = s.number("to", 1, 1e-9, most, "the value, or base: that of the base configuration");
  e.multiple_of = s.integer("multiple_of", 1, 1, i64{1} << 31, "the chosen value is a multiple of this");
  e.tolerance = s.number("tolerance", 0.02, 0, 1, "largest relative deviation that is accepted");
  if (s.has("mean_k")) e.mean_k = s.number("mean_k", 1, 0, most, "experts per token and layer to count with, for routers whose data decide");
  s.finish();
  return e;
}

}  // namespace

std::string RandomAxis::draw(std::uint64_t seed, i64 sample) const {
  // Each key has draws of its own, so that adding a key leaves the others' values alone.
  const double u = Stream::named(seed, Purpose::sweep, key).uniform(static_cast<std::uint64_t>(sample));
  if (kind == Kind::choice) return choices[std::min(choices.size() - 1, static_cast<std::size_t>(u * static_cast<double>(choices.size())))];
  if (kind == Kind::integer) return fmt::format("{:.0f}", std::min(high, low + std::floor(u * (high - low + 1))));
  const double value = kind == Kind::log ? low * std::pow(high / low, u) : low + u * (high - low);
  return fmt::format("{:.6g}", value);
}

Definition Definition::read(const std::vector<Entry>& entries, const std::string& file) {
  Definition d;
  Spec sweep("sweep"), equal("equal");
  bool has_equal = false;
  for (const Entry& e : entries) {
    if (e.section == "sweep") {
      sweep.set(e.key, e.value);
    } else if (e.section == "equal") {
      equal.set(e.key, e.value);
      has_equal = true;
    } else if (e.section == "set") {
      require_key(e, file);
      if (e.key == "ranks") user_error("{}: [set] ranks: stands in [sweep]", file);
      d.set.push_back({e.key, e.value});
    } else if (e.section == "grid" || e.section == "list") {
      require_key(e, file);
      (e.section == "grid" ? d.grid : d.list).push_back({e.key, values_of(e, file)});
    } else if (e.section == "random") {
      require_key(e, file);
      d.random.push_back(random_axis(e, file));
    } else {
      user_error("{}: section [{}] is unknown; a sweep file has [sweep], [set], [grid], [list], [random] and [equal]", file, e.section);
    }
  }
  read_sweep(sweep, file, d);
  if (has_equal) d.equal = read_equal(equal, file);
  for (const Axis& a : d.list) {
    if (a.values.size() != d.list.front().values.size()) {
      user_error("{}: [list] {} has {} values and {} has {}: they are taken side by side, so all keys need as many", file, d.list.front().key, d.list.front().values.size(), a.key, a.values.size());
    }
  }
  if (d.samples > 0 && d.random.empty()) user_error("{}: [sweep] samples = {}: there is no [random]", file, d.samples);
  if (d.samples == 0 && !d.random.empty()) user_error("{}: [random]: [sweep] samples says how many to draw; it is missing", file);
  std::vector<std::string> keys = d.keys();
  for (const Setting& s : d.set) keys.push_back(s.key);
  std::ranges::sort(keys);
  if (const auto twice = std::ranges::adjacent_find(keys); twice != keys.end()) user_error("{}: {} is given in two places", file, *twice);
  double points = static_cast<double>(std::max<std::size_t>(d.seeds.size(), static_cast<std::size_t>(d.repeats)));
  for (const Axis& a : d.grid) points *= static_cast<double>(a.values.size());
  points *= static_cast<double>(d.list.empty() ? 1 : d.list.front().values.size()) * static_cast<double>(std::max<i64>(1, d.samples));
  if (points > static_cast<double>(k_most_points)) user_error("{}: makes {:.0f} points; at most {} are allowed", file, points, k_most_points);
  return d;
}

std::vector<std::string> Definition::keys() const {
  std::vector<std::string> keys;
  for (const Axis& a : grid) keys.push_back(a.key);
  for (const Axis& a : list) keys.push_back(a.key);
  for (const RandomAxis& a : random) keys.push_back(a.key);
  if (equal) keys.push_back(equal->solve);
  return keys;
}

i64 Definition::combinations() const {
  i64 count = std::max<i64>(1, samples);
  for (const Axis& a : grid) count *= static_cast<i64>(a.values.size());
  return count * (list.empty() ? 1 : static_cast<i64>(list.front().values.size()));
}

std::vector<Setting> Definition::combination(i64 number) const {
  // The number's digits, each in a base of its own: those of the grid's keys, then the place in the list, then the sample.
  const i64 side_by_side = list.empty() ? 1 : static_cast<i64>(list.front().values.size());
  const i64 sample = number % std::max<i64>(1, samples);
  number /= std::max<i64>(1, samples);
  const i64 place = number % side_by_side;
  number /= side_by_side;
  std::vector<i64> digits(grid.size());
  for (std::size_t g = grid.size(); g-- > 0;) {
    digits[g] = number % static_cast<i64>(grid[g].values.size());
    number /= static_cast<i64>(grid[g].values.size());
  }
  std::vector<Setting> point;
  const auto put = [&](const Axis& a, i64 i) {
    const std::string& value = a.values[static_cast<std::size_t>(i)];
    if (value != k_unset) point.push_back({a.key, value});
  };
  for (std::size_t g = 0; g < grid.size(); ++g) put(grid[g], digits[g]);
  for (const Axis& a : list) put(a, place);
  if (samples > 0) {
    for (const RandomAxis& a : random) point.push_back({a.key, a.draw(sampling_seed, sample)});
  }
  return point;
}

}  // namespace pleiad::sweep
