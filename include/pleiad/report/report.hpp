// What pleiad report does: reads the runs, prints tables, writes the CSV file and the page.
#pragma once
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::report {

struct ReportRequest {
  std::vector<std::string> paths;   ///< run and sweep directories, or files of predictions
  bool single_runs = false;         ///< rows are runs, also of a sweep
  std::string csv, html, keep;      ///< files and folder to write; empty: none
  std::string gnuplot = "gnuplot";  ///< program, looked for in PATH if it has no slash
  i64 details = -1;                 ///< runs drawn one by one; negative: all of up to 12 runs, 4 of more. Fewer if the page would become too large
  bool force = false;               ///< may replace html and keep
  double confidence = 0.95;
  std::string command;  ///< as it was typed, for the page
};

/// Returns what the terminal shows. UserError for input and output that is wrong. One rank only.
std::string make_report(const ReportRequest& request);

}  // namespace pleiad::report
