// The page of a report: tables, figures over all configurations, figures of single runs, configuration and provenance.
#pragma once
#include <map>

#include "pleiad/report/page.hpp"
#include "pleiad/report/report.hpp"
#include "pleiad/report/tables.hpp"

namespace pleiad::report {

/// UserError unless `path` may be written: it is new, or may be replaced, and its folder is there.
void require_writable(const std::string& option, const std::string& path, bool force);

/// The checks of html, keep and gnuplot that need no run: mistakes that are cheap to find come before the work. UserError.
void check_output(const ReportRequest& request);
/// Pictures of figures, drawn by one gnuplot in request.keep or a folder that goes; as elements of a page.
std::vector<std::string> draw_for_page(const std::vector<Figure>& figures, const ReportRequest& request);

/// Draws the figures and writes request.html (and request.keep). Returns what to tell the user, one line.
std::string write_html(const ReportRequest& request, const Collection& collection);

/// Runs to draw one by one: the best of each configuration, best configurations first, then their other seeds; all in their order if all fit.
std::vector<std::size_t> detailed_runs(const Collection& collection, i64 asked);

/// What all configurations have in common, a line per section, and a table of what differs.
void add_configuration(Page& page, const Collection& collection);
/// A configuration, by section.key, with a line for each section.
std::vector<std::string> lines_of_sections(const std::map<std::string, std::string>& config);
/// The program that writes the page, and when.
std::string provenance_of_page();
/// Versions, commits, seeds, data and the command.
void add_provenance(Page& page, const Collection& collection, const std::string& command);

}  // namespace pleiad::report
