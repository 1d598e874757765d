// A table for people (terminal, HTML) and for programs (CSV): every cell has both forms.
#pragma once
#include <string>
#include <vector>

namespace pleiad::report {

struct Table {
  struct Column {
    std::string title, csv;  ///< csv empty: for people only
    bool left = false;       ///< words; numbers stand right
    bool csv_only = false;   ///< for programs
  };
  struct Cell {
    std::string shown, plain;
  };
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::vector<std::string> marks = {};  ///< by row: a word behind it, such as "best"; may be shorter than rows
  std::vector<std::string> notes;       ///< lines below
};

/// Columns of even width, two blanks between them; then the notes.
std::string as_text(const Table& table);
/// Comma-separated, quoted where needed.
std::string as_csv(const Table& table);
std::string as_html(const Table& table);
/// Text without control characters other than line ends and tabs, and without bytes that are no UTF-8: blanks and '?' in their places. Names of
/// folders may hold anything, XML may not.
std::string clean_text(const std::string& text);
/// Text that means itself in HTML and in XML.
std::string escape_html(const std::string& text);

}  // namespace pleiad::report
