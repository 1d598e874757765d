// How far computed results are from a verification file, quantity by quantity.
#include <algorithm>
#include <cmath>
#include <limits>

#include "pleiad/io/golden.hpp"

namespace pleiad::io {

namespace {

constexpr bool k_double = sizeof(real) == 8;
double pick(double single, double twice) { return k_double ? twice : single; }

/// How a quantity is measured; err(X) = largest |got - ref| / max(largest |ref|, 1e-3).
struct Rule {
  enum class Measure { exact, relative_to_largest, absolute, by_step } measure = Measure::relative_to_largest;
  double tolerance = 0;
  std::string group;  // quantities of one group share a line
};

Rule rule_for(const std::string& path, bool layer) {
  using enum Rule::Measure;
  const auto starts = [&](const char* with) { return path.starts_with(with); };
  const auto ends = [&](const char* with) { return path.ends_with(with); };
  if (ends("capacity") || ends("/offset") || ends("/expert") || ends("/dropped") || ends("expert_tokens")) return {exact, 0, path};
  if (starts("grads/")) return {relative_to_largest, layer ? pick(2e-5, 1e-10) : pick(5e-5, 1e-9), "grads"};
  if (starts("losses/")) return {absolute, pick(1e-5, 1e-11), path};
  if (path == "trace/grad_norm") return {by_step, pick(5e-5, 1e-9), path};
  if (starts("trace/")) return {absolute, layer ? pick(1e-5, 1e-11) : pick(1e-5, 1e-9), path};
  if (starts("final/")) return {relative_to_largest, 0, "final"};
  if (starts("step0/block_")) return {relative_to_largest, pick(5e-6, 1e-11), "step0/block_*"};
  return {relative_to_largest, pick(5e-6, 1e-11), path};
}

double measure(const Rule& rule, const std::vector<double>& got, const std::vector<double>& reference) {
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(got[i] - reference[i]);
    largest = std::max(largest, std::abs(reference[i]));
    const double scaled = rule.measure == Rule::Measure::absolute ? difference / std::max(1.0, std::abs(reference[i]))
                          : rule.measure == Rule::Measure::by_step ? difference / std::max(std::abs(reference[i]), 1e-3)
                                                                   : difference;
    if (!(scaled <= error)) error = std::isnan(scaled) ? std::numeric_limits<double>::infinity() : scaled;
  }
  return rule.measure == Rule::Measure::relative_to_largest ? error / std::max(largest, 1e-3) : error;
}

double rms(const std::vector<double>& got, const std::vector<double>& reference) {
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) sum += (got[i] - reference[i]) * (got[i] - reference[i]);
  return std::isnan(sum) ? std::numeric_limits<double>::infinity() : std::sqrt(sum / static_cast<double>(std::max<std::size_t>(got.size(), 1)));
}

/// Inside a model file the order of a token's experts is not protected: sort entries by expert within each token.
void sort_tokens(const std::vector<double>& offset, std::vector<double>& expert, std::vector<double>& weight) {
  for (std::size_t t = 0; t + 1 < offset.size(); ++t) {
    std::vector<std::pair<double, double>> entries;
    const std::size_t begin = static_cast<std::size_t>(std::max(offset[t], 0.0));
    const std::size_t end = std::min(static_cast<std::size_t>(std::max(offset[t + 1], 0.0)), std::min(expert.size(), weight.size()));
    for (std::size_t i = begin; i < end; ++i) entries.emplace_back(expert[i], weight[i]);
    std::ranges::sort(entries);
    for (std::size_t i = begin; i < end; ++i) std::tie(expert[i], weight[i]) = entries[i - begin];
  }
}

class Table {
 public:
  void add(const std::string& group, const std::string& name, double error, double tolerance, bool exact) {
    auto it = std::ranges::find(rows_, group, [](const Row& r) { return r.group; });
    if (it == rows_.end()) {
      rows_.push_back({group, name, 0, error, tolerance, exact});
      it = rows_.end() - 1;
    }
    ++it->count;
    if (error > it->error) {
      it->error = error;
      it->worst = name;
    }
  }
  std::vector<GoldenComparison> finish() const {
    std::vector<GoldenComparison> out;
    for (const Row& r : rows_) {
      out.push_back({r.count > 1 ? fmt::format("{} ({} datasets, worst {})", r.group, r.count, r.worst) : r.worst, r.error, r.tolerance, r.exact});
    }
    return out;
  }

 private:
  struct Row {
    std::string group, worst;
    i64 count;
    double error, tolerance;
    bool exact;
  };
  std::vector<Row> rows_;
};

}  // namespace

std::vector<GoldenComparison> compare(const GoldenFile& golden, const GoldenResults& results) {
  const H5File& file = golden.file();
  const auto reference_of = [&](const std::string& path) { return file.read<double>("/" + path); };
  Table table;
  for (const auto& [path, array] : results) {
    if (!file.exists("/" + path)) continue;
    const Rule rule = rule_for(path, golden.is_layer());
    std::vector<double> got = array.values, reference = reference_of(path);
    // Routing lists of one model layer are compared together, entries sorted.
    if (path.starts_with("step0/routing_") && (path.ends_with("/expert") || path.ends_with("/weight"))) {
      const std::string list = path.substr(0, path.rfind('/') + 1);
      const auto sorted = [&path = path](const std::vector<double>& offset, std::vector<double> expert, std::vector<double> weight) {
        sort_tokens(offset, expert, weight);
        return path.ends_with("/expert") ? expert : weight;
      };
      if (file.exists("/" + list + "expert") && file.exists("/" + list + "weight") && file.exists("/" + list + "offset")) {
        got = sorted(results.at(list + "offset").values, results.at(list + "expert").values, results.at(list + "weight").values);
        reference = sorted(reference_of(list + "offset"), reference_of(list + "expert"), reference_of(list + "weight"));
      }
    }
    if (path == "routing/importance" && file.exists("/input/mask")) {  // means nothing on padding
      const std::vector<double> mask = file.read<double>("/input/mask");
      for (std::size_t t = 0; t < std::min(mask.size(), std::min(got.size(), reference.size())); ++t) {
        if (mask[t] == 0) got[t] = reference[t] = 0;
      }
    }
    const bool exact = rule.measure == Rule::Measure::exact;
    if (got.size() != reference.size()) {
      table.add(path, path + " (other size)", std::numeric_limits<double>::infinity(), rule.tolerance, exact);
    } else if (rule.group == "final") {
      table.add("final, RMS error", path, rms(got, reference), pick(1e-5, 1e-8), false);
      double most = 0;
      for (std::size_t i = 0; i < got.size(); ++i) most = std::max(most, std::abs(got[i] - reference[i]));
      table.add("final, largest error", path, most, pick(2e-4, 1e-6), false);
    } else {
      table.add(rule.group, path, measure(rule, got, reference), rule.tolerance, exact);
    }
  }
  std::vector<GoldenComparison> rows = table.finish();
  if (rows.empty()) user_error("{}: the file holds no expected result to compare with", file.path());
  for (const char* name : {"capacity", "moe_capacity"}) {
    if (!results.contains(name) || !file.has_attribute("/", name)) continue;
    const double got = results.at(name).values[0], expected = golden.number(name);
    rows.insert(rows.begin(), {fmt::format("{} (attribute, computed {})", name, got), std::abs(got - expected), 0, true});
  }
  return rows;
}

std::vector<std::string> not_compared(const GoldenFile& golden, const GoldenResults& results) {
  std::vector<std::string> names;
  for (const std::string group : {"output", "grads", "losses", "routing", "final", "trace", "step0"}) {
    for (const std::string& name : golden.names_below("/" + group)) {
      if (!results.contains(group + "/" + name)) names.push_back(group + "/" + name);
    }
  }
  return names;
}

}  // namespace pleiad::io
