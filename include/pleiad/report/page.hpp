// One HTML page that needs nothing else: text, tables and inline SVG, readable on a screen and on paper.
#pragma once
#include <string>
#include <vector>

#include "pleiad/report/figure.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

class Page {
 public:
  explicit Page(std::string title) : title_(std::move(title)) {}

  /// A section with an entry in the table of contents.
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  /// A short list of remarks.
  void list(const std::vector<std::string>& items);
  /// `wrap`: long words may be broken into lines.
  void table(const Table& table, const std::string& caption, bool wrap = false);
  /// Figures side by side where there is room; `pictures` are their SVG elements, empty where one is absent.
  void figures(const std::vector<Figure>& figures, const std::vector<std::string>& pictures);

  std::size_t bytes() const { return body_.size(); }
  std::string html() const;

 private:
  std::string title_, body_, contents_;
  int sections_ = 0;
};

}  // namespace pleiad::report
