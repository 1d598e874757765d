// gnuplot's SVG made fit for a page: smaller by half, and free of what two pictures in one document would quarrel about.
#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "pleiad/core/text.hpp"
#include "pleiad/report/draw.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::report {

namespace {

/// Removes what begins with `from` and ends with the next `to`, every time.
void cut_out(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    const std::size_t end = text.find(to, at);
    if (end == std::string::npos) return;
    text.erase(at, end + to.size() - at);
  }
}

/// Groups that hold nothing: gnuplot opens one for every change of style.
void drop_empty_groups(std::string& text) {
  std::string result;
  std::size_t done = 0;
  while (true) {
    const std::size_t close = text.find("></g>", done);
    if (close == std::string::npos) break;
    const std::size_t open = text.rfind('<', close);
    if (open >= done && text.compare(open, 3, "<g ") == 0) {
      result.append(text, done, open - done);
    } else {
      result.append(text, done, close + 5 - done);
    }
    done = close + 5;
  }
  text = result.append(text, done);
}

std::set<std::string> used_ids(const std::string& text) {
  std::set<std::string> ids;
  for (const std::string mark : {"href='#", "url(#"}) {
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
      const std::size_t begin = at + mark.size();
      ids.insert(text.substr(begin, text.find_first_of("')", begin) - begin));
    }
  }
  return ids;
}

/// The definitions of gnuplot that are used; a point may be made of another one, so this goes on until nothing changes.
void drop_unused(std::string& text) {
  for (std::size_t before = 0; before != text.size();) {
    before = text.size();
    const std::set<std::string> used = used_ids(text);
    for (int i = 0; i <= 14; ++i) {
      const std::string id = "gpPt" + std::to_string(i);
      if (used.count(id)) continue;
      const std::size_t at = text.find("id='" + id + "'");
      if (at == std::string::npos) continue;
      const std::size_t begin = text.rfind('<', at), end = text.find("/>", at) + 2;
      text.erase(begin, end - begin);
    }
    if (!used.count("gpDot")) cut_out(text, "<circle id='gpDot'", "/>");
    for (const std::string id : {"textbox", "greybox"}) {
      if (!used.count(id)) cut_out(text, "<filter id='" + id + "'", "</filter>");
    }
  }
}

/// rgb( 68,   1,  84) -> #440154.
void shorten_colors(std::string& text) {
  std::string result;
  std::size_t done = 0;
  for (std::size_t at = text.find("rgb("); at != std::string::npos; at = text.find("rgb(", done)) {
    int r = 0, g = 0, b = 0;
    const std::size_t end = text.find(')', at);
    result.append(text, done, at - done);
    if (end != std::string::npos && std::sscanf(text.c_str() + at, "rgb( %d, %d, %d)", &r, &g, &b) == 3) {
      result += fmt::format("#{:02x}{:02x}{:02x}", r, g, b);
      done = end + 1;
    } else {
      result += "rgb(";
      done = at + 4;
    }
  }
  text = result.append(text, done);
}

/// Coordinates of paths and polygons to a tenth of a pixel: gnuplot writes hundredths, and they are half of the file.
void shorten_paths(std::string& text) {
  for (const std::string mark : {" d='", " points = '"}) {
    std::string result;
    std::size_t done = 0;
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, done)) {
      const std::size_t begin = at + mark.size(), end = text.find('\'', begin);
      if (end == std::string::npos) break;
      result.append(text, done, begin - done);
      int decimals = -1;  // behind a point; -1: before it
      for (std::size_t i = begin; i < end; ++i) {
        const bool digit = text[i] >= '0' && text[i] <= '9';
        decimals = text[i] == '.' ? 0 : !digit ? -1 : decimals >= 0 ? decimals + 1 : -1;
        if (decimals < 2) result += text[i];
      }
      done = end;
    }
    text = result.append(text, done);
  }
}

/// White space between elements; text elements keep theirs.
void squeeze(std::string& text) {
  std::string result;
  bool blank = false;
  for (const char c : text) {
    const bool space = c == '\n' || c == '\t' || c == '\r' || c == ' ';
    if (space) {
      blank = true;
      continue;
    }
    // Between '>' and '<' there is nothing to keep apart: gnuplot writes each text in one element.
    if (blank && !result.empty() && !(result.back() == '>' && c == '<')) result += ' ';
    blank = false;
    result += c;
  }
  text = result;
}

}  // namespace

std::string inline_svg(const std::string& file, const std::string& prefix, const std::string& title) {
  const std::size_t begin = file.find("<svg"), end = file.rfind("</svg>");
  if (begin == std::string::npos || end == std::string::npos) return "";
  std::string svg = file.substr(begin, end + 6 - begin);
  cut_out(svg, "<title>", "</title>");
  cut_out(svg, "<desc>", "</desc>");
  cut_out(svg, "<rect x=\"0\" y=\"0\"", "/>");  // the background: the page has one
  squeeze(svg);
  drop_empty_groups(svg);
  drop_unused(svg);
  shorten_paths(svg);
  for (const std::string mark : {" id='", " id=\"", "href='#", "url(#"}) replace_all(svg, mark, mark + prefix + "-");
  replace_all(svg, "<image ", "<image style='image-rendering:pixelated' ");
  shorten_colors(svg);
  // What nearly every group repeats stands once, at the root.
  for (const char* common : {" stroke-linecap=\"round\"", " stroke-linejoin=\"round\"", " font-family=\"Helvetica\"", " color=\"black\"",
                             " stroke=\"currentColor\" stroke-width=\"1.00\""}) {
    replace_all(svg, common, "");
  }
  const std::size_t head = svg.find('>');
  return svg.substr(0, head) +
         " role=\"img\" color=\"black\" stroke=\"currentColor\" stroke-width=\"1\" stroke-linecap=\"round\" stroke-linejoin=\"round\" "
         "font-family=\"Helvetica\"><title>" +
         escape_html(title) + "</title>" + svg.substr(head + 1);
}

}  // namespace pleiad::report
