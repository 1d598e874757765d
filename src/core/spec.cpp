#include "pleiad/core/spec.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "pleiad/core/error.hpp"

namespace pleiad {

namespace {

constexpr i64 k_longest_list = i64{1} << 21;

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

template <class T>
bool parse_whole(std::string_view s, T& out) {
  s = trim(s);
  if (s.size() > 1 && s.front() == '+' && s[1] != '-') s.remove_prefix(1);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out);
  return error == std::errc{} && end == s.data() + s.size() && !s.empty();
}

std::string describe(i64 low, i64 high) {
  if (high == std::numeric_limits<i64>::max()) return fmt::format("a whole number of at least {}", low);
  return fmt::format("a whole number from {} to {}", low, high);
}

std::string describe(double low, double high) {
  if (std::isfinite(high)) return fmt::format("a number from {} to {}", low, high);
  return std::isfinite(low) ? fmt::format("a number of at least {}", low) : "a number that is finite";
}

bool parse_number(std::string_view s, double low, double high, double& out) {
  return parse_whole(s, out) && std::isfinite(out) && out >= low && out <= high;
}

/// What stands between the commas, trimmed; nothing for "none" and for an empty text.
std::vector<std::string_view> items_of(std::string_view list) {
  std::vector<std::string_view> items;
  list = trim(list);
  if (list.empty() || list == "none") return items;
  for (std::size_t pos = 0; pos <= list.size();) {
    const std::size_t comma = std::min(list.find(',', pos), list.size());
    items.push_back(trim(list.substr(pos, comma - pos)));
    pos = comma + 1;
  }
  return items;
}

constexpr std::size_t k_longest_in_full = 1000;

template <class T>
std::string list_text(const std::vector<T>& values) {
  return values.empty() ? "none" : fmt::format("{}", fmt::join(values, ","));
}

/// Equal ones in a row as NxM.
std::string runs_text(const std::vector<i64>& values) {
  std::string text;
  for (auto at = values.begin(); at != values.end();) {
    const auto end = std::find_if(at, values.end(), [&](i64 v) { return v != *at; });
    text += fmt::format("{}{}{}", text.empty() ? "" : ",", end - at == 1 ? "" : fmt::format("{}x", end - at), *at);
    at = end;
  }
  return text;
}

}  // namespace

const std::string* Spec::find(const std::string& key) const {
  const auto it = given_.find(key);
  return it == given_.end() ? nullptr : &it->second;
}

void Spec::record(const std::string& key, std::string value, std::string_view doc) {
  for (Entry& e : resolved_) {
    if (e.key == key) {
      e.value = std::move(value);
      return;
    }
  }
  resolved_.push_back({key, std::move(value), std::string(doc)});
}

i64 Spec::integer(const std::string& key, i64 fallback, i64 low, i64 high, std::string_view doc) {
  i64 value = fallback;
  if (const std::string* text = find(key)) {
    if (!parse_whole(*text, value) || value < low || value > high) {
      user_error("{}.{} = {}: must be {} ({})", section_, key, *text, describe(low, high), doc);
    }
  }
  record(key, fmt::format("{}", value), doc);
  return value;
}

double Spec::number(const std::string& key, double fallback, double low, double high, std::string_view doc) {
  double value = fallback;
  if (const std::string* text = find(key)) {
    if (!parse_number(*text, low, high, value)) {
      user_error("{}.{} = {}: must be {} ({})", section_, key, *text, describe(low, high), doc);
    }
  }
  record(key, fmt::format("{}", value), doc);
  return value;
}

bool Spec::flag(const std::string& key, bool fallback, std::string_view doc) {
  bool value = fallback;
  if (const std::string* text = find(key)) {
    const std::string_view t = trim(*text);
    if (t == "1" || t == "true" || t == "yes" || t == "on") {
      value = true;
    } else if (t == "0" || t == "false" || t == "no" || t == "off") {
      value = false;
    } else {
      user_error("{}.{} = {}: must be true or false ({})", section_, key, *text, doc);
    }
  }
  record(key, value ? "true" : "false", doc);
  return value;
}

std::string Spec::text(const std::string& key, const std::string& fallback, std::string_view doc) {
  const std::string* given = find(key);
  std::string value = given ? std::string(trim(*given)) : fallback;
  record(key, value, doc);
  return value;
}

std::string Spec::choice(const std::string& key, const std::string& fallback, const std::vector<std::string>& allowed,
                         std::string_view doc) {
  const std::string value = text(key, fallback, doc);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    user_error("{}.{} = {}: must be one of {} ({})", section_, key, value, fmt::join(allowed, ", "), doc);
  }
  return value;
}

std::vector<i64> Spec::integers(const std::string& key, const std::vector<i64>& fallback, i64 low, i64 high, std::string_view doc) {
  std::vector<i64> values = fallback;
  if (const std::string* given = find(key)) {
    values.clear();
    const auto bad = [&] {
      user_error("{}.{} = {}: must be a comma-separated list, each entry {}, or NxM for N copies of M, {} entries at most ({})", section_, key, *given,
                 describe(low, high), k_longest_list, doc);
    };
    for (const std::string_view item : items_of(*given)) {
      const std::size_t times = item.find('x');
      i64 copies = 1, value = 0;
      if (times != std::string_view::npos && !parse_whole(item.substr(0, times), copies)) bad();
      if (!parse_whole(times == std::string_view::npos ? item : item.substr(times + 1), value)) bad();
      if (value < low || value > high || copies < 1 || copies > k_longest_list - static_cast<i64>(values.size())) bad();
      values.insert(values.end(), static_cast<std::size_t>(copies), value);
    }
  }
  record(key, values.size() > k_longest_in_full ? runs_text(values) : list_text(values), doc);
  return values;
}

std::vector<double> Spec::numbers(const std::string& key, const std::vector<double>& fallback, double low, double high, std::string_view doc) {
  std::vector<double> values = fallback;
  if (const std::string* given = find(key)) {
    values.clear();
    for (const std::string_view item : items_of(*given)) {
      values.push_back(0);
      if (!parse_number(item, low, high, values.back())) {
        user_error("{}.{} = {}: must be a comma-separated list, each entry {} ({})", section_, key, *given, describe(low, high), doc);
      }
    }
  }
  record(key, list_text(values), doc);
  return values;
}

void Spec::finish() const {
  for (const auto& [key, value] : given_) {
    const bool known = std::any_of(resolved_.begin(), resolved_.end(), [&key = key](const Entry& e) { return e.key == key; });
    if (known || preset_.count(key)) continue;
    std::vector<std::string> names;
    for (const Entry& e : resolved_) names.push_back(e.key);
    std::sort(names.begin(), names.end());
    user_error("{}.{} = {}: unknown key; section [{}] takes {} with the settings given", section_, key, value, section_,
               fmt::join(names, ", "));
  }
}

std::string resolved_ini(const std::vector<const Spec*>& sections) {
  std::string out;
  for (const Spec* s : sections) {
    if (s->resolved().empty()) continue;
    out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", s->section());
    for (const Spec::Entry& e : s->resolved()) out += fmt::format("# {}\n{} = {}\n", e.doc, e.key, e.value);
  }
  return out;
}

}  // namespace pleiad
