#include "pleiad/report/collection.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/run_marker.hpp"

namespace pleiad::report {

namespace {

namespace fs = std::filesystem;

constexpr const char* k_seed = "train.seed";

/// "3 without a record (a, b, c)"; long lists are cut.
std::string count_of(const std::vector<std::string>& names, const std::string& what) {
  constexpr std::size_t k_named = 3;
  std::string list;
  for (std::size_t i = 0; i < std::min(names.size(), k_named); ++i) list += (i ? ", " : "") + names[i];
  return fmt::format("{} {} ({}{})", names.size(), what, list, names.size() > k_named ? ", ..." : "");
}

std::string cut(const std::string& text, std::size_t length) { return text.size() <= length ? text : text.substr(0, length - 3) + "..."; }

/// What runs of one configuration have in common, as one text. What a control was given by the run it is matched to is that run's, seed by seed.
std::string identity(const Run& run) {
  std::string text = fmt::format("{}|{}|", run.sweep, run.ranks);
  for (const auto& [key, value] : run.sweep >= 0 ? run.settings : run.config) {
    const bool given = !run.matched_to.empty() && (key == "moe.mean_k" || key == "moe.k_histogram");
    if (key != k_seed && !given) text += key + "=" + value + "\n";
  }
  return text;
}

/// The beginning that the names of runs share, without what only announces the seed.
std::string common_name(const std::vector<Run>& runs, const std::vector<std::size_t>& members) {
  std::string name = runs[members.front()].name();
  if (members.size() == 1) return name;
  for (const std::size_t i : members) {
    const std::string& other = runs[i].name();
    name.resize(static_cast<std::size_t>(std::ranges::mismatch(name, other).in1 - name.begin()));
  }
  const auto strip = [&](const char* characters) { name.resize(name.find_last_not_of(characters) + 1); };
  strip("-_. ");
  if (name.ends_with("seed")) name.resize(name.size() - 4);
  strip("-_. ");
  return name.empty() ? runs[members.front()].name() : name;
}

std::string label_of(const Collection& c, const Configuration& configuration) {
  const Run& first = c.runs[configuration.runs.front()];
  if (first.sweep < 0) return cut(common_name(c.runs, configuration.runs), 60);
  std::string label;
  const std::vector<std::string> names = short_keys(c.keys);
  for (std::size_t k = 0; k < c.keys.size(); ++k) {
    if (!configuration.values[k].empty()) label += (label.empty() ? "" : " ") + names[k] + "=" + cut(configuration.values[k], 28);
  }
  const std::string& sweep = c.sweeps[static_cast<std::size_t>(first.sweep)];
  if (label.empty()) return sweep;
  return c.sweeps.size() > 1 ? sweep + ": " + label : label;
}

void label_all(Collection& c) {
  std::map<std::string, int> used;
  for (Configuration& configuration : c.configurations) {
    configuration.label = label_of(c, configuration);
    if (const int before = used[configuration.label]++; before > 0) configuration.label += fmt::format(" ({})", before + 1);
  }
}

/// Adds the keys in which rows differ that would read the same: what one sweep has in its base and another sets for all its points.
void add_what_tells_apart(Collection& c, const std::function<std::string(const Run&, const std::string&)>& value_of) {
  std::map<std::vector<std::string>, std::map<i64, const Run*>> rows;  // what a row says; of each sweep a run that it says it of
  for (const Run& run : c.runs) {
    std::vector<std::string> values = {fmt::format("{}", run.ranks)};
    for (const std::string& key : c.keys) values.push_back(value_of(run, key));
    rows[values].emplace(run.sweep, &run);
  }
  for (const auto& [values, of_sweep] : rows) {
    std::vector<const Run*> runs;
    for (const auto& [sweep, run] : of_sweep) runs.push_back(run);
    for (const std::string& key : differing_keys(runs)) {
      if (std::ranges::find(c.keys, key) == c.keys.end()) c.keys.push_back(key);
    }
  }
}

bool is_run(const std::string& path) { return fs::is_regular_file(path) || fs::exists(path + "/run.h5"); }

void add_once(std::vector<Run>& runs, std::set<std::string>& seen, Run run) {
  std::error_code error;
  const std::string where = fs::weakly_canonical(run.path, error).string();
  if (seen.insert(error ? run.path : where).second) runs.push_back(std::move(run));
}

}  // namespace

bool Collection::has_configurations() const { return !sweeps.empty() || configurations.size() < runs.size(); }

std::vector<Run> complete_runs(const io::SweepIndex& index, std::string& remark) {
  std::vector<Run> runs;
  std::vector<std::string> missing, partial, damaged;
  for (const io::SweepPoint& point : index.points) {
    const std::string path = index.path_of(point);
    if (!fs::exists(path + "/run.h5")) {
      missing.push_back(point.name);
      continue;
    }
    if (const io::MarkerCheck marker = io::check_marker(path, point.identity); marker.there && !marker.finished) {
      damaged.push_back(point.name);
      continue;
    }
    try {
      Run run = read_run(path);
      run.settings = point.settings;
      run.seed = point.seed;
      if (run.complete()) {
        runs.push_back(std::move(run));
      } else {
        partial.push_back(point.name);
      }
    } catch (const UserError&) {  // one bad file must not hide the others
      damaged.push_back(point.name);
    }
  }
  if (runs.size() == index.points.size()) return runs;
  remark = fmt::format("sweep {}: {} of {} points reported", index.name, runs.size(), index.points.size());
  if (!partial.empty()) remark += "; " + count_of(partial, "not complete: running, interrupted or failed");
  if (!missing.empty()) remark += "; " + count_of(missing, "without a record");
  if (!damaged.empty()) remark += "; " + count_of(damaged, "with a damaged record");
  remark += fmt::format(" ('pleiad sweep status {}' says more)", shell_word(index.folder));
  return runs;
}

Collection collect(const std::vector<std::string>& paths) {
  Collection c;
  std::vector<std::string> keys;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    if (!io::is_sweep(path)) {
      if (fs::is_directory(path) && !is_run(path))
        user_error("report {}: holds neither a run ({}/run.h5: No such file) nor a sweep (sweep.json)", path, path);
      add_once(c.runs, seen, read_run(path));
      continue;
    }
    const io::SweepIndex index = io::read_sweep_index(path);
    std::string remark;
    std::vector<Run> runs = complete_runs(index, remark);
    if (runs.empty()) user_error("report {}: {}", path, remark.empty() ? "the sweep has no points" : remark);
    if (!remark.empty()) c.remarks.push_back(remark);
    for (Run& run : runs) {
      run.sweep = static_cast<i64>(c.sweeps.size());
      add_once(c.runs, seen, std::move(run));
    }
    c.sweeps.push_back(index.name);
    for (const std::string& key : index.keys) {
      if (key != k_seed && std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    }
  }
  group(c, keys);
  return c;
}

void group(Collection& c, const std::vector<std::string>& swept) {
  std::vector<std::string> keys = swept;
  const bool several = c.sweeps.size() > 1;
  // Sweeps of different routers have the router in their bases.
  if (several && std::ranges::find(keys, "moe.router") == keys.end()) keys.insert(keys.begin(), "moe.router");
  // What the point sets; where another sweep sets what this one's base has, that of the base.
  const auto value_of = [&](const Run& run, const std::string& key) {
    const auto set = run.settings.find(key);
    return set != run.settings.end() ? set->second : several ? run.value(key) : "";
  };
  for (const std::string& key : keys) {
    std::set<std::string> values;
    for (const Run& run : c.runs) values.insert(value_of(run, key));
    if (values.size() > 1) c.keys.push_back(key);
  }
  if (several) add_what_tells_apart(c, value_of);
  std::map<std::string, std::size_t> places;
  std::map<std::pair<std::string, i64>, int> times;
  for (std::size_t i = 0; i < c.runs.size(); ++i) {
    // A seed that comes again is the same experiment again, not another sample: a configuration of its own.
    const std::string what = identity(c.runs[i]);
    const std::string id = fmt::format("{}#{}", what, times[{what, c.runs[i].seed}]++);
    const auto [found, fresh] = places.emplace(id, c.configurations.size());
    if (fresh) {
      c.configurations.emplace_back();
      for (const std::string& key : c.keys) c.configurations.back().values.push_back(value_of(c.runs[i], key));
    }
    c.configurations[found->second].runs.push_back(i);
  }
  for (Configuration& configuration : c.configurations)
    std::ranges::stable_sort(configuration.runs, {}, [&](std::size_t i) { return c.runs[i].seed; });
  label_all(c);
  if (std::ranges::any_of(c.runs, [](const Run& run) { return run.sweep < 0; })) {
    c.keys.clear();  // runs by themselves have no swept keys: labels name the rows
    for (Configuration& configuration : c.configurations) configuration.values.clear();
  }
}

std::vector<std::string> differing_keys(const std::vector<const Run*>& runs) {
  std::set<std::string> all, differing;
  for (const Run* run : runs) {
    for (const auto& [key, value] : run->config) all.insert(key);
  }
  std::vector<std::string> result;
  for (const std::string& key : all) {
    if (key != k_seed && std::ranges::any_of(runs, [&](const Run* run) { return run->value(key) != runs.front()->value(key); }))
      result.push_back(key);
  }
  return result;
}

std::vector<std::string> short_keys(const std::vector<std::string>& keys) {
  const auto bare = [](const std::string& key) { return key.substr(key.find('.') + 1); };
  std::vector<std::string> names;
  for (const std::string& key : keys) {
    names.push_back(std::ranges::count(keys, bare(key), bare) > 1 ? key : bare(key));
  }
  return names;
}

}  // namespace pleiad::report
