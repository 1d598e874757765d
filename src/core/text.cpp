#include "pleiad/core/text.hpp"

#include <regex>

namespace pleiad {

std::string harmless(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  }
  return text;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) field += c == '"' ? "\"\"" : std::string(1, c);
  return field + "\"";
}

std::string shell_word(const std::string& text) {
  if (!text.empty() && text.find_first_of(" \t\r\n'\"\\$`*?[](){}<>|&;#!~") == std::string::npos) return text;
  std::string word = "\"";
  for (const char c : text) word += (std::string_view("\"\\$`").find(c) != std::string_view::npos ? "\\" : "") + std::string(1, c);
  return word + "\"";
}

i64 seconds_of_time_limit(const std::string& time) {
  std::smatch m;
  const auto number = [&m](std::size_t i) { return m[i].matched ? std::stoll(m[i].str()) : 0; };
  if (std::regex_match(time, m, std::regex(R"((\d{1,6})(?::(\d{1,2}))?)"))) return number(1) * 60 + number(2);
  if (std::regex_match(time, m, std::regex(R"((\d{1,6}):(\d{1,2}):(\d{1,2}))"))) return number(1) * 3600 + number(2) * 60 + number(3);
  if (std::regex_match(time, m, std::regex(R"((\d{1,4})-(\d{1,2})(?::(\d{1,2}))?(?::(\d{1,2}))?)"))) {
    return number(1) * 86400 + number(2) * 3600 + number(3) * 60 + number(4);
  }
  return -1;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  std::string result;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    result.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = result.append(text, done);
}

}  // namespace pleiad
