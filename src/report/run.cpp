#include "pleiad/report/run.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <sstream>

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

double number_or_zero(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

std::string text_or_empty(const io::H5File& file, const char* attribute) {
  return file.has_attribute("/", attribute) ? file.text("/", attribute) : "";
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

/// Number of experts in a layer and their mean width, from the tables of the record or, beyond the experts it lists, the configuration.
void read_experts(const io::H5File& file, Run& run) {
  if (!file.exists("/layers/block")) return;
  run.moe_layers = file.extent("/layers/block", 0);
  const std::string router = run.value("moe.router");
  if (router == "peer" || router == "pkm") {
    run.experts = number_or_zero(run.value("moe.sub_keys")) * number_or_zero(run.value("moe.sub_keys"));
    return;
  }
  if (file.exists("/layers/expert_width")) {
    const std::vector<double> widths = file.read<double>("/layers/expert_width");
    run.experts = static_cast<double>(widths.size());
    if (!widths.empty()) run.expert_width = std::accumulate(widths.begin(), widths.end(), 0.0) / run.experts;
  } else {
    const double split = std::max(1.0, number_or_zero(run.value("moe.split")));
    run.experts = number_or_zero(run.value("moe.experts")) * split;
    run.expert_width = number_or_zero(run.value("moe.expert_width")) / split;
  }
}

}  // namespace

std::map<std::string, std::string> parse_config(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream in(text);
  std::string section;
  for (std::string raw; std::getline(in, raw);) {
    const std::string line = trimmed(raw);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      section = line.substr(1, line.size() - 2);
    } else if (const std::size_t equal = line.find('='); equal != std::string::npos) {
      values[section + "." + trimmed(line.substr(0, equal))] = trimmed(line.substr(equal + 1));
    }
  }
  return values;
}

std::string Run::value(const std::string& key) const {
  const auto found = config.find(key);
  return found == config.end() ? "" : found->second;
}

bool Run::complete() const { return summary.finished && static_cast<double>(summary.steps) >= number_or_zero(value("train.steps")); }

std::string Run::data() const {
  std::string words = std::filesystem::path(value("data.corpus")).filename().string();
  if (!fingerprint.empty()) words += ", fingerprint " + fingerprint;
  if (summary.targets) words += fmt::format(", {:.0f} targets", *summary.targets);
  if (summary.floor) words += fmt::format(", floor {:.6f} nat", *summary.floor);
  return words;
}

Run read_run(const std::string& path) {
  const io::H5File file = io::open_run(path);
  Run run;
  run.path = io::run_folder(path);
  if (run.path.empty()) run.path = ".";
  run.summary = io::read_run_summary(file, run.path);
  if (file.has_attribute("/", "corpus_fingerprint")) run.fingerprint = file.text("/", "corpus_fingerprint");
  run.config = parse_config(file.read_text("/config"));
  run.seed = file.has_attribute("/", "seed") ? file.integer("/", "seed") : 0;
  run.ranks = file.has_attribute("/", "ranks") ? file.integer("/", "ranks") : 1;
  run.version = text_or_empty(file, "pleiad_version");
  run.commit = text_or_empty(file, "git_commit");
  run.started = text_or_empty(file, "started");
  run.matched_to = text_or_empty(file, "matched_to");
  read_experts(file, run);
  return run;
}

}  // namespace pleiad::report
