// One section of the configuration: key = value strings with typed, range-checked, self-documenting getters.
// A component reads its options with the getters; whoever built the Spec then calls finish(), which turns a key that nobody
// asked for into an error that lists what is allowed. The getters also record defaults, so that the resolved configuration
// can be written into every output.
#pragma once
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad {

class Spec {
 public:
  struct Entry {
    std::string key, value, doc;
  };

  explicit Spec(std::string section) : section_(std::move(section)) {}
  Spec(std::string section, std::initializer_list<std::pair<const std::string, std::string>> values)
      : section_(std::move(section)), given_(values) {}

  void set(const std::string& key, std::string value) {
    given_[key] = std::move(value);
    preset_.erase(key);
  }
  /// A value that holds unless the user gave one (presets). Nobody has to ask for it.
  void set_default(const std::string& key, std::string value) {
    if (given_.emplace(key, std::move(value)).second) preset_.insert(key);
  }
  void erase(const std::string& key) { given_.erase(key); }
  bool has(const std::string& key) const { return given_.count(key) != 0; }
  const std::string& section() const { return section_; }
  const std::map<std::string, std::string>& given() const { return given_; }

  /// All getters: UserError names section.key, the value and what is allowed. `doc` is one line for people.
  i64 integer(const std::string& key, i64 fallback, i64 low, i64 high, std::string_view doc);
  double number(const std::string& key, double fallback, double low, double high, std::string_view doc);
  bool flag(const std::string& key, bool fallback, std::string_view doc);
  std::string text(const std::string& key, const std::string& fallback, std::string_view doc);
  /// One of a fixed set of words.
  std::string choice(const std::string& key, const std::string& fallback, const std::vector<std::string>& allowed, std::string_view doc);
  /// Comma-separated integers; "none" or an empty value is the empty list. `NxM` stands for N copies of M ("8x256").
  std::vector<i64> integers(const std::string& key, const std::vector<i64>& fallback, i64 low, i64 high, std::string_view doc);
  /// Comma-separated numbers; "none" or an empty value is the empty list.
  std::vector<double> numbers(const std::string& key, const std::vector<double>& fallback, double low, double high, std::string_view doc);

  /// UserError if a given key was asked for by no getter.
  void finish() const;
  /// Every key asked for so far with its value in force, in the order of asking.
  const std::vector<Entry>& resolved() const { return resolved_; }

 private:
  const std::string* find(const std::string& key) const;
  void record(const std::string& key, std::string value, std::string_view doc);

  std::string section_;
  std::map<std::string, std::string> given_;
  std::set<std::string> preset_;  // keys of given_ that the user did not give
  std::vector<Entry> resolved_;
};

/// Every option that was asked for with its value in force, in INI form with the description of each key as a comment.
std::string resolved_ini(const std::vector<const Spec*>& sections);

}  // namespace pleiad
