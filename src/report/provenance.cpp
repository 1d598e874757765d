// The end of the page: what was run, and by what.
#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/html_report.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_columns = 12;  // configurations that still stand side by side
constexpr std::size_t k_values = 8;    // values that are listed of a key

std::string joined(const std::set<std::string>& items, std::size_t most) {
  std::string text;
  std::size_t count = 0;
  for (const std::string& item : items) {
    if (count++ == most) return text + fmt::format(", ... ({} in all)", items.size());
    text += (count > 1 ? ", " : "") + item;
  }
  return text;
}

/// Keys that differ, with the value in each configuration, or where there are many the list of values.
Table differences(const Collection& c, const std::vector<std::string>& keys) {
  Table table;
  table.columns = {{"key", "key", true}};
  const bool side_by_side = c.configurations.size() <= k_columns;
  if (side_by_side) {
    for (const Configuration& configuration : c.configurations) table.columns.push_back({configuration.label, configuration.label, true});
  } else {
    table.columns.push_back({"values", "values", true});
  }
  for (const std::string& key : keys) {
    std::vector<Table::Cell> row = {{key, key}};
    std::set<std::string> all;
    for (const Configuration& configuration : c.configurations) {
      std::set<std::string> values;
      for (const std::size_t i : configuration.runs) values.insert(c.runs[i].value(key));
      all.insert(values.begin(), values.end());
      if (side_by_side) row.push_back({joined(values, k_values), ""});
    }
    if (!side_by_side) row.push_back({joined(all, k_values), ""});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string now() {
  char date[64] = "";
  const std::time_t time = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time));
  return date;
}

std::set<std::string> distinct(const Collection& c, const std::function<std::string(const Run&)>& of) {
  std::set<std::string> all;
  for (const Run& run : c.runs) all.insert(of(run));
  return all;
}

}  // namespace

std::vector<std::string> lines_of_sections(const std::map<std::string, std::string>& config) {
  std::map<std::string, std::string> sections;
  for (const auto& [key, value] : config) {
    std::string& line = sections[key.substr(0, key.find('.'))];
    line += (line.empty() ? "" : "; ") + key.substr(key.find('.') + 1) + " = " + value;
  }
  std::vector<std::string> lines;
  for (const auto& [section, line] : sections) lines.push_back("[" + section + "] " + line);
  return lines;
}

std::string provenance_of_page() {
  const core::BuildInfo build = core::build_info();
  return fmt::format("This page: pleiad {} ({}), {}", build.version, build.git_commit, now());
}

void add_configuration(Page& page, const Collection& c) {
  const std::vector<std::string> keys = differing_keys(all_runs(c));
  page.heading("Configuration");
  if (!keys.empty()) page.table(differences(c, keys), "What differs, beside the seed.", true);
  std::map<std::string, std::string> shared = c.runs.front().config;
  std::erase_if(shared, [&](const auto& entry) { return entry.first == "train.seed" || std::ranges::find(keys, entry.first) != keys.end(); });
  page.paragraph(c.runs.size() > 1 ? "What all runs share:" : "Every key with its value in force:");
  page.list(lines_of_sections(shared));
}

void add_provenance(Page& page, const Collection& c, const std::string& command) {
  std::set<i64> seeds;
  for (const Run& run : c.runs) seeds.insert(run.seed);
  std::set<std::string> seed_names;
  std::string seed_list;
  for (const i64 seed : seeds) seed_list += (seed_list.empty() ? "" : ", ") + fmt::format("{}", seed);
  if (seeds.size() > 50) seed_list = fmt::format("{} different ones", seeds.size());
  page.heading("Provenance");
  page.list({fmt::format("Runs: {}, seeds {}", c.runs.size(), seed_list),
             "Data: " + joined(distinct(c, [](const Run& r) { return r.data(); }), k_values),
             "Written by pleiad " + joined(distinct(c, [](const Run& r) { return r.version + " (" + r.commit + ")"; }), k_values),
             "Started: " + *distinct(c, [](const Run& r) { return r.started; }).begin() +
                 (c.runs.size() > 1 ? " to " + *distinct(c, [](const Run& r) { return r.started; }).rbegin() : ""),
             "Ranks: " + joined(distinct(c, [](const Run& r) { return fmt::format("{}", r.ranks); }), k_values),
             provenance_of_page(), "Command: " + command});
}

}  // namespace pleiad::report
