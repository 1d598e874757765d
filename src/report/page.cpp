#include "pleiad/report/page.hpp"

#include "pleiad/core/error.hpp"

namespace pleiad::report {

namespace {

constexpr const char* k_style = R"(
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; background: #fff; max-width: 1340px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #bbb; padding-bottom: .2rem; overflow-wrap: anywhere; }
nav ul { columns: 18rem; padding-left: 1.2rem; margin: .5rem 0; font-size: .9rem; }
a { color: #0072B2; }
table { border-collapse: collapse; font-size: .78rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top; white-space: nowrap; }
th { border-bottom: 1px solid #444; }
.w { text-align: left; }
.wrap .w { white-space: normal; overflow-wrap: anywhere; }
tr.marked td { font-weight: 600; background: #eef5fa; }
.wide { overflow-x: auto; }
.note, figcaption, .tc { font-size: .85rem; color: #444; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 1.4rem; align-items: start; }
figure { margin: 0; min-width: 0; break-inside: avoid; }
figure.full { grid-column: 1 / -1; }
figure h3 { font-size: 1rem; margin: 0 0 .3rem; }
figure svg { width: 100%; height: auto; display: block; }
figure svg text { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; }
image { image-rendering: pixelated; }
.absent { border-left: 3px solid #bbb; padding: .3rem .8rem; margin: 0; color: #444; }
@media print {
  body { font-size: 10pt; padding: 0; max-width: none; }
  nav { display: none; }
  .grid { grid-template-columns: 1fr 1fr; gap: .8rem; }
  .wide { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .1rem .3rem; }
  h2 { break-after: avoid; }
}
@page { size: A4; margin: 15mm; }
)";

}  // namespace

void Page::heading(const std::string& text) {
  ++sections_;
  body_ += fmt::format("<h2 id=\"s{}\">{}</h2>\n", sections_, escape_html(text));
  contents_ += fmt::format("<li><a href=\"#s{}\">{}</a></li>\n", sections_, escape_html(text));
}

void Page::paragraph(const std::string& text) { body_ += "<p>" + escape_html(text) + "</p>\n"; }

void Page::list(const std::vector<std::string>& items) {
  if (items.empty()) return;
  body_ += "<ul>\n";
  for (const std::string& item : items) body_ += "<li>" + escape_html(item) + "</li>\n";
  body_ += "</ul>\n";
}

void Page::table(const Table& table, const std::string& caption, bool wrap) {
  if (!caption.empty()) body_ += "<p class=\"tc\">" + escape_html(caption) + "</p>\n";
  body_ += (wrap ? "<div class=\"wrap\">" : "<div>") + as_html(table) + "</div>\n";
}

void Page::figures(const std::vector<Figure>& figures, const std::vector<std::string>& pictures) {
  body_ += "<div class=\"grid\">\n";
  for (std::size_t i = 0; i < figures.size(); ++i) {
    const Figure& f = figures[i];
    body_ += fmt::format("<figure id=\"{}\"{}>\n<h3>{}</h3>\n", escape_html(f.id), f.width == k_wide ? " class=\"full\"" : "", escape_html(f.title));
    if (f.absent.empty()) {
      body_ += pictures[i] + "\n<figcaption>" + escape_html(f.caption) + "</figcaption>\n";
    } else {
      body_ += "<p class=\"absent\">" + escape_html(f.absent) + "</p>\n";
    }
    body_ += "</figure>\n";
  }
  body_ += "</div>\n";
}

std::string Page::html() const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<link rel=\"icon\" "
      "href=\"data:,\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<nav><ul>\n{2}</ul></nav>\n{3}</body>\n</html>\n",
      escape_html(title_), k_style, contents_, body_);
}

}  // namespace pleiad::report
