// The configuration: an INI file and --set overrides, parsed into one Spec per section. Components read
// their section themselves; this file knows sections, not keys.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/spec.hpp"

namespace pleiad::app {

/// One line of an INI text.
struct IniEntry {
  std::string section, key, value;  ///< a key may hold dots
};
/// The entries of an INI text in their order. UserError naming `name` for a broken line, a key before the first section or given twice.
std::vector<IniEntry> parse_ini(const std::string& text, const std::string& name);

/// The text of a file; `what` it is stands in messages. UserError if it cannot be read.
std::string read_ini(const std::string& what, const std::string& path);

class Config {
 public:
  /// Empty sections.
  Config();
  /// Text in INI form; `name` stands in messages. UserError for a broken line, an unknown section or a key given twice.
  static Config parse(const std::string& text, const std::string& name);
  /// Reads the file on rank 0 for all; UserError on every rank if that fails. collective.
  static Config load(const comm::Communicator& comm, const std::string& path);

  /// section.key=value, as of --set. UserError if it has another form or an unknown section.
  void set(const std::string& assignment);
  void set_all(const std::vector<std::string>& assignments);
  Spec& section(const std::string& name);
  /// UserError for a key that nobody asked for.
  void finish() const;
  /// Every option with its value in force, in INI form with the description of each key as a comment.
  std::string resolved() const;
  /// section.key -> value in force, of the keys asked for.
  std::map<std::string, std::string> values() const;
  /// section.key -> value as it was given.
  std::map<std::string, std::string> given() const;

 private:
  std::vector<Spec> sections_;
};

}  // namespace pleiad::app
