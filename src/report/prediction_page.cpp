#include <algorithm>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/html_report.hpp"
#include "pleiad/report/predictions.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_all_files = 12, k_some_files = 4;

void add_results(Page& page, const std::vector<PredictedSteps>& files) {
  page.heading("Results");
  page.paragraph("Predicted, not measured.");
  page.table(table_of_predictions(files),
             "Efficiency and computing: computation alone, shared out evenly among ranks that nothing slows down, over the step. Waiting: mean share of the step that a rank waits for others; travelling: the rest. "
             "MiB per rank: of the fullest one, without libraries and data.");
  std::vector<std::string> notes;
  for (const PredictedSteps& f : files) {
    for (const sim::Prediction& p : f.record.predictions) {
      for (const std::string& note : p.notes) notes.push_back(fmt::format("{}, {} ranks: {}", f.name, p.ranks, note));
    }
  }
  page.list(notes);
}

void write_page(const ReportRequest& request, const std::vector<PredictedSteps>& files, std::size_t detailed) {
  std::vector<std::vector<Figure>> sections = {scaling_figures(files)};
  for (std::size_t i = 0; i < detailed; ++i) sections.push_back(prediction_figures(files[i], fmt::format("file{}", i + 1)));
  std::vector<Figure> all;
  for (const auto& s : sections) all.insert(all.end(), s.begin(), s.end());
  const std::vector<std::string> drawn = draw_for_page(all, request);

  Page page(files.size() == 1 ? "Prediction " + files[0].name : fmt::format("{} predictions", files.size()));
  add_results(page, files);
  auto next = drawn.begin();
  for (std::size_t i = 0; i < sections.size(); ++i) {
    page.heading(i == 0 ? "Scaling" : files[i - 1].name);
    if (i > 0) page.paragraph(fmt::format("On {}; routing {}.", files[i - 1].cluster(), files[i - 1].record.demand));
    const auto end = next + static_cast<std::ptrdiff_t>(sections[i].size());
    page.figures(sections[i], {next, end});
    next = end;
  }
  if (detailed < files.size()) page.paragraph(fmt::format("{} of {} files are drawn one by one (--details N draws more).", detailed, files.size()));
  page.heading("Cluster and configuration");
  for (const PredictedSteps& f : files) {
    page.paragraph(f.name + ":");
    page.list(lines_of_sections(parse_config(f.record.cluster)));
    page.list(lines_of_sections(parse_config(f.record.config)));
  }
  page.heading("Provenance");
  std::vector<std::string> lines;
  for (const PredictedSteps& f : files) {
    lines.push_back(fmt::format("{}: by pleiad {}, engine {}, seed {}, step {}; routing {}", f.name, f.record.written_by, f.record.engine, f.record.seed, f.record.step, f.record.demand));
  }
  lines.insert(lines.end(), {provenance_of_page(), "Command: " + request.command});
  page.list(lines);
  io::write_output("--html", request.html, page.html());
}

}  // namespace

std::string report_predictions(const ReportRequest& request) {
  const std::vector<PredictedSteps> files = read_predictions(request.paths);
  if (!request.csv.empty()) io::write_output("--csv", request.csv, as_csv(table_of_predictions(files)));
  std::string text = predictions_in_words(files);
  if (request.html.empty()) return text;
  const std::size_t drawn = request.details >= 0 ? static_cast<std::size_t>(request.details) : files.size() <= k_all_files ? files.size() : k_some_files;
  write_page(request, files, std::min(drawn, files.size()));
  return text + "page: " + request.html + "\n";
}

}  // namespace pleiad::report
