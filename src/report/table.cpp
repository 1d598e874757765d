#include "pleiad/report/table.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::report {

namespace {

/// Characters of UTF-8 text: bytes that do not continue one.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Whether a character of several bytes may begin with these two: neither longer than it need be, nor half of a pair of UTF-16, nor beyond Unicode.
bool is_character(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0: return second >= 0xA0;
    case 0xED: return second < 0xA0;
    case 0xF0: return second >= 0x90;
    case 0xF4: return second < 0x90;
    default: return true;
  }
}

std::string mark_of(const Table& table, std::size_t row) { return row < table.marks.size() ? table.marks[row] : ""; }

}  // namespace

std::string as_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    widths.push_back(width(table.columns[i].title));
    for (const auto& row : table.rows) widths[i] = std::max(widths[i], width(row[i].shown));
  }
  std::string text;
  const auto line = [&](const auto& cell, const std::string& mark) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (table.columns[i].csv_only) continue;
      const std::string padding(widths[i] - width(cell(i)), ' ');
      text += (i ? "  " : "") + (table.columns[i].left ? cell(i) + padding : padding + cell(i));
    }
    if (mark.empty()) text.erase(text.find_last_not_of(' ') + 1);
    text += mark.empty() ? "\n" : "  " + mark + "\n";
  };
  line([&](std::size_t i) { return table.columns[i].title; }, "");
  for (std::size_t r = 0; r < table.rows.size(); ++r) line([&](std::size_t i) { return table.rows[r][i].shown; }, mark_of(table, r));
  for (const std::string& note : table.notes) text += note + "\n";
  return text;
}

std::string as_csv(const Table& table) {
  std::string text;
  const auto line = [&](const auto& cell) {
    std::string separator;
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (table.columns[i].csv.empty()) continue;
      text += separator + csv_field(cell(i));
      separator = ",";
    }
    text += "\n";
  };
  line([&](std::size_t i) { return table.columns[i].csv; });
  for (const auto& row : table.rows) line([&](std::size_t i) { return row[i].plain; });
  return text;
}

std::string clean_text(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    const std::size_t length = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    bool whole = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; whole && k < length; ++k) whole = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    if (whole && length > 1) whole = is_character(c, static_cast<unsigned char>(text[i + 1]));
    if (length == 1 && (c == 0x7F || (c < 0x20 && c != '\n' && c != '\t'))) {
      result += ' ';
    } else {
      result += whole ? text.substr(i, length) : "?";
    }
    i += whole ? length : 1;
  }
  return result;
}

std::string escape_html(const std::string& text) {
  std::string result;
  for (const char c : clean_text(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string as_html(const Table& table) {
  const auto cell = [](const char* tag, bool left, const std::string& text) {
    return fmt::format("<{}{}>{}</{}>", tag, left ? " class=\"w\"" : "", escape_html(text), tag);
  };
  std::string html = "<div class=\"wide\"><table>\n<thead><tr>";
  for (const Table::Column& c : table.columns) html += c.csv_only ? "" : cell("th", c.left, c.title);
  html += "</tr></thead>\n<tbody>\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string mark = mark_of(table, r);
    html += mark.empty() ? "<tr>" : "<tr class=\"marked\">";
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (table.columns[i].csv_only) continue;
      html += cell("td", table.columns[i].left, table.rows[r][i].shown + (i == 0 && !mark.empty() ? " (" + mark + ")" : ""));
    }
    html += "</tr>\n";
  }
  html += "</tbody></table></div>\n";
  for (const std::string& note : table.notes) html += "<p class=\"note\">" + escape_html(note) + "</p>\n";
  return html;
}

}  // namespace pleiad::report
