#include "pleiad/report/report.hpp"

#include "pleiad/report/tables.hpp"

namespace pleiad::report {

std::string make_report(const ReportRequest& request) {
  const Collection collection = collect(request.paths);
  const bool by_configuration = collection.has_configurations() && !request.single_runs;
  const Table table = by_configuration ? table_of_configurations(collection) : table_of_runs(collection);
  if (!request.csv.empty()) write_file("--csv", request.csv, as_csv(table));
  std::string text = as_text(table);
  for (const std::string& remark : collection.remarks) text += remark + "\n";
  if (const std::string words = verdict(collection, request.confidence); by_configuration && !words.empty()) text += words + "\n";
  return text;
}

}  // namespace pleiad::report
