#include "pleiad/app/config.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace options = boost::program_options;

namespace {

const std::vector<std::string> k_sections = {"model", "moe", "train", "data", "parallel", "exchange", "checkpoint", "metrics"};

}  // namespace

Config::Config() {
  for (const std::string& name : k_sections) sections_.emplace_back(name);
}

Spec& Config::section(const std::string& name) {
  const auto it = std::ranges::find(sections_, name, &Spec::section);
  if (it == sections_.end()) user_error("section [{}] is unknown; the sections are {}", name, fmt::join(k_sections, ", "));
  return *it;
}

std::vector<IniEntry> parse_ini(const std::string& text, const std::string& name) {
  std::vector<IniEntry> entries;
  std::set<std::string> seen;
  try {
    // Some editors begin a file with the mark of its encoding.
    std::istringstream in(text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text);
    const auto parsed = options::parse_config_file(in, options::options_description(), true);
    for (const auto& option : parsed.options) {
      const std::string& key = option.string_key;
      if (!seen.insert(key).second) user_error("{}: {} is given twice", name, key);
      const std::size_t dot = key.find('.');
      if (dot == std::string::npos) user_error("{}: '{}' stands before the first [section]", name, key);
      entries.push_back({key.substr(0, dot), key.substr(dot + 1), option.value.empty() ? "" : option.value.front()});
    }
  } catch (const options::error& e) {
    user_error("{}: {}; a line is '[section]', 'key = value' or a comment after '#'", name, e.what());
  }
  return entries;
}

Config Config::parse(const std::string& text, const std::string& name) {
  Config config;
  for (const IniEntry& e : parse_ini(text, name)) config.set(fmt::format("{}.{}={}", e.section, e.key, e.value));
  return config;
}

Config Config::load(const comm::Communicator& comm, const std::string& path) {
  std::string text, problem;
  if (comm.root()) {
    std::ifstream in(path);
    std::ostringstream all;
    if (!in || !(all << in.rdbuf())) problem = fmt::format("config {}: cannot be read ({})", path, errno ? std::strerror(errno) : "not a file with text");
    text = all.str();
  }
  comm::agree(comm, comm::broadcast(comm, problem));
  return parse(comm::broadcast(comm, text), path);
}

void Config::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('='), dot = assignment.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
    user_error("'{}': an option has the form section.key=value, with section one of {}", assignment, fmt::join(k_sections, ", "));
  }
  // The value must come back from the resolved configuration as it was given.
  const std::string value = assignment.substr(equals + 1);
  const auto unfit = std::ranges::find_if(value, [](unsigned char c) { return c == '#' || (c < 32 && c != '\t') || c == 127; });
  if (unfit != value.end()) {
    user_error("{}: a value must not hold {}", assignment.substr(0, equals), *unfit == '#' ? "'#', which begins a comment in a configuration" : "line ends or control characters");
  }
  section(assignment.substr(0, dot)).set(assignment.substr(dot + 1, equals - dot - 1), value);
}

void Config::set_all(const std::vector<std::string>& assignments) {
  for (const std::string& a : assignments) set(a);
}

void Config::finish() const {
  for (const Spec& s : sections_) s.finish();
}

std::string Config::resolved() const {
  std::string out;
  for (const Spec& s : sections_) {
    if (s.resolved().empty()) continue;
    out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", s.section());
    for (const Spec::Entry& e : s.resolved()) out += fmt::format("# {}\n{} = {}\n", e.doc, e.key, e.value);
  }
  return out;
}

std::map<std::string, std::string> Config::values() const {
  std::map<std::string, std::string> all;
  for (const Spec& s : sections_) {
    for (const Spec::Entry& e : s.resolved()) all[s.section() + "." + e.key] = e.value;
  }
  return all;
}

std::map<std::string, std::string> Config::given() const {
  std::map<std::string, std::string> all;
  for (const Spec& s : sections_) {
    for (const auto& [key, value] : s.given()) all[s.section() + "." + key] = value;
  }
  return all;
}

}  // namespace pleiad::app
