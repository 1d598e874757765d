#include "pleiad/report/selection.hpp"

#include <glob.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

namespace fs = std::filesystem;

bool is_run(const std::string& path) { return fs::is_regular_file(path) || fs::exists(path + "/run.h5"); }

/// Names that match, sorted.
std::vector<std::string> matches(const std::string& pattern) {
  glob_t found = {};
  std::vector<std::string> names;
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) names.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return names;
}

/// The same text, or the same number.
bool same_value(const std::string& a, const std::string& b) {
  if (a == b) return true;
  char *end_a = nullptr, *end_b = nullptr;
  const double x = std::strtod(a.c_str(), &end_a), y = std::strtod(b.c_str(), &end_b);
  return !a.empty() && !b.empty() && !*end_a && !*end_b && x == y;
}

std::string listed(const std::set<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

/// The full name of a key: as it is, or the only one with this name behind its section.
std::string full_key(const std::string& where, const std::string& key, const std::vector<std::string>& swept, const Run& example) {
  std::set<std::string> known(swept.begin(), swept.end()), fitting;
  if (known.count(key) || example.config.count(key) || key == "seed" || key == "ranks") return key;
  const auto add = [&](const std::string& candidate) {
    if (candidate.ends_with("." + key)) fitting.insert(candidate);
  };
  std::ranges::for_each(swept, add);
  if (fitting.empty()) {
    for (const auto& [candidate, value] : example.config) add(candidate);
  }
  if (fitting.size() == 1) return *fitting.begin();
  if (fitting.size() > 1) user_error("report: {}: the key {} may mean {}: write it with its section", where, key, listed(fitting));
  user_error("report: {}: the sweep has no key {}; its keys are {}", where, key, known.empty() ? "none" : listed(known));
}

void add_sweep(Side& side, const std::string& folder, std::vector<std::string>& swept) {
  const io::SweepIndex index = io::read_sweep_index(folder);
  std::string remark;
  for (Run& run : complete_runs(index, remark)) side.runs.push_back(std::move(run));
  if (!remark.empty()) side.remarks.push_back(remark);
  for (const std::string& key : index.keys) {
    if (std::ranges::find(swept, key) == swept.end()) swept.push_back(key);
  }
}

void narrow(Side& side, const std::string& selection, const std::vector<std::string>& swept) {
  for (const auto& [name, wanted] : parse_selection(side.text, selection)) {
    if (side.runs.empty()) return;
    const std::string key = full_key(side.text, name, swept, side.runs.front());
    std::set<std::string> values;
    for (const Run& run : side.runs) values.insert(value_of(run, key));
    std::erase_if(side.runs, [&, w = wanted](const Run& run) { return !same_value(value_of(run, key), w); });
    if (side.runs.empty()) user_error("report: {}: no complete point has {} = {}; there are {}", side.text, key, wanted, listed(values));
  }
}

/// Keys in which the runs vary: of the sweep if all are its points, else of their configurations.
std::vector<std::string> varying(const std::vector<Run>& runs, const std::vector<std::string>& swept) {
  std::vector<const Run*> all;
  for (const Run& run : runs) all.push_back(&run);
  const bool points = std::ranges::all_of(runs, [](const Run& run) { return !run.settings.empty(); });
  std::vector<std::string> keys;
  for (const std::string& key : points ? swept : differing_keys(all)) {
    if (key != "train.seed" && std::ranges::any_of(runs, [&](const Run& run) { return value_of(run, key) != value_of(runs.front(), key); }))
      keys.push_back(key);
  }
  return keys;
}

}  // namespace

std::string value_of(const Run& run, const std::string& key) {
  if (key == "seed") return fmt::format("{}", run.seed);
  if (key == "ranks") return fmt::format("{}", run.ranks);
  const auto found = run.settings.find(key);
  return found != run.settings.end() ? found->second : run.value(key);
}

std::vector<std::pair<std::string, std::string>> parse_selection(const std::string& where, const std::string& text) {
  std::vector<std::pair<std::string, std::string>> parts;
  std::size_t done = 0;
  while (done <= text.size()) {
    const std::size_t comma = std::min(text.find(',', done), text.size());
    const std::string part = text.substr(done, comma - done);
    const std::size_t equal = part.find('=');
    if (equal != std::string::npos && equal > 0) {
      parts.emplace_back(part.substr(0, equal), part.substr(equal + 1));
    } else if (equal == std::string::npos && !parts.empty()) {
      parts.back().second += "," + part;  // a list of numbers is one value
    } else {
      user_error("report: {}: '{}' is not key=value", where, part);
    }
    done = comma + 1;
  }
  return parts;
}

Side select_side(const std::string& text) {
  Side side;
  side.text = text;
  std::vector<std::string> swept;
  const std::size_t colon = text.find(':');
  if (is_run(text)) {
    side.runs.push_back(read_run(text));
  } else if (io::is_sweep(text)) {
    add_sweep(side, text, swept);
  } else if (colon != std::string::npos && io::is_sweep(text.substr(0, colon))) {
    add_sweep(side, text.substr(0, colon), swept);
    narrow(side, text.substr(colon + 1), swept);
  } else {
    for (const std::string& name : matches(text)) {
      if (io::is_sweep(name)) {
        add_sweep(side, name, swept);
      } else if (fs::exists(name + "/run.h5") || name.ends_with(".h5")) {  // a pattern also meets logs and other files
        side.runs.push_back(read_run(name));
      }
    }
    if (side.runs.empty() && colon != std::string::npos && fs::is_directory(text.substr(0, colon)))
      user_error("report: {}: {} holds no sweep (there is no sweep.json)", text, text.substr(0, colon));
  }
  if (side.runs.empty())
    user_error("report: {}: there is no run{}", text,
               side.remarks.empty() ? "; a run, a sweep, a pattern of names or SWEEP:key=value is needed" : " (" + side.remarks.front() + ")");
  side.keys = varying(side.runs, swept);
  return side;
}

}  // namespace pleiad::report
