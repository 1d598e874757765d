#include "pleiad/report/report.hpp"

#include <algorithm>
#include <filesystem>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/draw.hpp"
#include "pleiad/report/html_report.hpp"
#include "pleiad/report/predictions.hpp"

namespace pleiad::report {

void check_output(const ReportRequest& request) {
  namespace fs = std::filesystem;
  if (!request.csv.empty()) require_writable("--csv", request.csv, request.force);
  if (!request.csv.empty() && request.csv == request.html) user_error("--csv {}: is the name of --html, too", request.csv);
  if (request.html.empty()) {
    if (!request.keep.empty()) user_error("--keep {}: keeps the figures of a page, so it goes with --html FILE", request.keep);
    return;
  }
  require_writable("--html", request.html, request.force);
  std::error_code error;
  if (!request.keep.empty() && fs::exists(request.keep, error)) {
    if (!fs::is_directory(request.keep, error)) user_error("--keep {}: is a file; the name of a folder is needed", request.keep);
    if (!fs::is_empty(request.keep, error) && !request.force)
      user_error("--keep {}: is not empty; choose another name, or replace files in it with --force", request.keep);
  }
  find_gnuplot(request.gnuplot);
}

std::string make_report(const ReportRequest& request) {
  check_output(request);
  if (std::ranges::any_of(request.paths, io::is_simulation)) return report_predictions(request);
  const Collection collection = collect(request.paths);
  const bool by_configuration = collection.has_configurations() && !request.single_runs;
  const Table table = by_configuration ? table_of_configurations(collection) : table_of_runs(collection);
  if (!request.csv.empty()) io::write_output("--csv", request.csv, as_csv(table));
  std::string text = as_text(table);
  for (const std::string& remark : collection.remarks) text += remark + "\n";
  if (const std::string words = verdict(collection, request.confidence); by_configuration && !words.empty()) text += words + "\n";
  if (!request.html.empty()) text += write_html(request, collection) + "\n";
  return text;
}

}  // namespace pleiad::report
