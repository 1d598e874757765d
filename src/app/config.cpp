#include "pleiad/app/config.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"
#include "pleiad/io/small_file.hpp"

namespace pleiad::app {

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
  const auto trimmed = [](std::string_view s) {
    const std::size_t begin = s.find_first_not_of(" \t\r"), end = s.find_last_not_of(" \t\r");
    return begin == std::string_view::npos ? std::string_view() : s.substr(begin, end - begin + 1);
  };
  std::vector<IniEntry> entries;
  if (std::ranges::any_of(text, [](char c) { return c == 0 || (c > 0 && c < ' ' && !std::strchr("\t\n\v\f\r", c)); })) user_error("{}: is not a text file", name);
  std::set<std::string> seen;
  std::string section;
  // Some editors begin a file with the mark of its encoding.
  std::istringstream in(text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text);
  std::string whole;
  for (i64 number = 1; std::getline(in, whole); ++number) {
    const std::string_view line = trimmed(std::string_view(whole).substr(0, whole.find('#')));
    const std::size_t equals = line.find('=');
    if (line.empty()) continue;
    if (line.front() == '[' && line.back() == ']') {
      section = line.substr(1, line.size() - 2);
      continue;
    }
    if (equals == std::string_view::npos) {
      user_error("{} line {}: '{}'{}; a line is '[section]', 'key = value' or a comment after '#'", name, number, harmless(std::string(line.substr(0, 80))), line.size() > 80 ? " ..." : "");
    }
    const std::string key(trimmed(line.substr(0, equals)));
    if (section.empty()) user_error("{}: '{}' stands before the first [section]", name, key);
    if (!seen.insert(section + "." + key).second) user_error("{}: {}.{} is given twice", name, section, key);
    entries.push_back({section, key, std::string(trimmed(line.substr(equals + 1)))});
  }
  return entries;
}

Config Config::parse(const std::string& text, const std::string& name) {
  Config config;
  for (const IniEntry& e : parse_ini(text, name)) config.set(fmt::format("{}.{}={}", e.section, e.key, e.value));
  return config;
}

std::string read_ini(const std::string& what, const std::string& path) {
  std::ostringstream all;
  std::ifstream in;
  if (io::is_pipe_or_device(path)) user_error("{} {}: is a pipe or a device; a file is needed", what, path);
  errno = 0;
  in.open(path);
  // An empty file has no character to read, and is none that cannot be read.
  if (!in || (!(all << in.rdbuf()) && errno != 0)) user_error("{} {}: cannot be read ({})", what, path, errno ? std::strerror(errno) : "not a file with text");
  return all.str();
}

Config Config::load(const comm::Communicator& comm, const std::string& path) {
  std::string text;
  comm::agree_on_root(comm, [&] { text = read_ini("config", path); });
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
  std::vector<const Spec*> all;
  for (const Spec& s : sections_) all.push_back(&s);
  return resolved_ini(all);
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
