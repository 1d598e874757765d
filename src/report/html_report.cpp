#include "pleiad/report/html_report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "pleiad/core/error.hpp"
#include "pleiad/core/temporary_folder.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/comparison_figures.hpp"
#include "pleiad/report/draw.hpp"
#include "pleiad/report/run_figures.hpp"

namespace pleiad::report {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_page_bytes = 4'400'000;  // sections of single runs end here; the rest of 5 MB is for what follows them
constexpr std::size_t k_rows = 2000;
constexpr std::size_t k_listed_runs = 100;       // beyond, the table of single runs is left out

/// A section of the page with its figures.
struct Section {
  std::string heading, text;
  std::vector<Figure> figures;
};

std::string label_of_run(const Collection& c, std::size_t run) {
  for (const Configuration& configuration : c.configurations) {
    if (std::ranges::find(configuration.runs, run) != configuration.runs.end()) return configuration.label;
  }
  return "";
}

Section section_of_run(const Collection& c, std::size_t i, std::size_t number) {
  const Run& run = c.runs[i];
  const std::string label = label_of_run(c, i);
  Section s;
  s.heading = fmt::format("Run {}", run.name());
  s.text = fmt::format("{}seed {}, {} rank{}, {} steps{}{}.", label.empty() || label == run.name() ? "" : label + ", ", run.seed, run.ranks,
                       run.ranks == 1 ? "" : "s", run.summary.steps, run.complete() ? "" : " (not complete)",
                       run.summary.loss ? fmt::format(", held-out loss {:.4f} nat", *run.summary.loss) : "");
  s.figures = run_figures(run, fmt::format("run{}", number));
  for (Figure& f : s.figures) f.subject = fmt::format("run {}, {}", run.name(), s.text);
  return s;
}

std::vector<Section> comparison_sections(const Collection& c) {
  Section loss{"Loss", "", loss_figures(c)}, quality{"Quality and cost", "", {seeds_figure(c), front_figure(c)}};
  for (Figure& f : iso_flop_figures(c)) quality.figures.push_back(std::move(f));
  return {std::move(loss), std::move(quality)};
}

/// Pictures of the figures of all sections, drawn by one process.
std::vector<std::vector<std::string>> draw_sections(const std::vector<Section>& sections, const ReportRequest& request) {
  std::vector<Figure> all;
  for (const Section& s : sections) all.insert(all.end(), s.figures.begin(), s.figures.end());
  std::vector<std::string> drawn = draw_for_page(all, request);
  std::vector<std::vector<std::string>> pictures;
  auto next = std::make_move_iterator(drawn.begin());
  for (const Section& s : sections) {
    const auto end = next + static_cast<std::ptrdiff_t>(s.figures.size());
    pictures.emplace_back(next, end);
    next = end;
  }
  return pictures;
}

std::size_t bytes_of(const std::vector<std::string>& pictures) {
  std::size_t bytes = 0;
  for (const std::string& p : pictures) bytes += p.size() + 1000;
  return bytes;
}

/// A table on the page, cut where it would fill the page alone.
void add_table(Page& page, Table table, const std::string& caption) {
  const std::size_t rows = table.rows.size();
  if (rows > k_rows) table.rows.resize(k_rows);
  page.table(table, caption);
  if (rows > k_rows) page.paragraph(fmt::format("The first {} of {} rows; pleiad report --csv writes all of them.", k_rows, rows));
}

void add_results(Page& page, const ReportRequest& request, const Collection& c) {
  page.heading("Results");
  if (const std::string words = verdict(c, request.confidence); !words.empty()) page.paragraph(words + ".");
  page.list(c.remarks);
  const std::string definitions =
      "Loss and what it is above the entropy of the data: last held-out evaluation, nats per target. Params, active: trainable parameters in all, "
      "and those a token meets, in millions. Mflop/token: forward, the whole model, kept assignments. Mean K: kept experts per token and layer. "
      "Flops imbalance: largest over mean of the experts' FLOPs. Bytes/token: sent by all ranks, forward and backward. Time: sum of the steps.";
  if (c.has_configurations()) {
    add_table(page, table_of_configurations(c),
               definitions + " Means over seeds, ± one sample standard deviation. Train Tflop: forward and backward, the whole run.");
    if (c.runs.size() > k_listed_runs)
      page.paragraph(fmt::format("{} single runs: the table of them is in the output of pleiad report --runs --csv.", c.runs.size()));
  }
  if (!c.has_configurations() || c.runs.size() <= k_listed_runs) add_table(page, table_of_runs(c), c.has_configurations() ? "Single runs." : definitions);
}

}  // namespace

void require_writable(const std::string& option, const std::string& path, bool force) {
  std::error_code error;
  const std::string parent = fs::path(path).parent_path().string(), folder = parent.empty() ? "." : parent;
  if (path.empty() || path.ends_with('/') || fs::is_directory(path, error)) user_error("{} {}: a file name is needed", option, path);
  if (fs::exists(path, error) && !force) user_error("{} {}: exists already; choose another name, or replace it with --force", option, path);
  if (!fs::is_directory(folder, error)) user_error("{} {}: there is no folder {}", option, path, folder);
  if (::access(folder.c_str(), W_OK) != 0) user_error("{} {}: cannot be made ({})", option, path, std::strerror(errno));
}

std::vector<std::string> draw_for_page(const std::vector<Figure>& figures, const ReportRequest& request) {
  const TemporaryFolder scratch;
  if (!request.keep.empty()) fs::create_directories(request.keep);
  std::vector<std::string> pictures = draw(figures, request.keep.empty() ? scratch.path() : request.keep, find_gnuplot(request.gnuplot));
  for (std::size_t i = 0; i < figures.size(); ++i) pictures[i] = inline_svg(pictures[i], figures[i].id, figures[i].title);
  return pictures;
}

std::vector<std::size_t> detailed_runs(const Collection& c, i64 asked) {
  const std::size_t all = c.runs.size(), wanted = asked >= 0 ? static_cast<std::size_t>(asked) : all <= 12 ? all : 4;
  std::vector<std::size_t> chosen;
  if (wanted >= all) {
    for (std::size_t i = 0; i < all; ++i) chosen.push_back(i);
    return chosen;
  }
  const Ranking ranking = rank(c);
  std::vector<std::vector<std::size_t>> by_configuration;
  const auto quality = [&](std::size_t i) {
    return ranking.quality.value(c.runs[i]).value_or(INFINITY) * (ranking.quality.better == Better::higher ? -1 : 1);
  };
  std::vector<std::size_t> order = ranking.order;
  for (std::size_t i = 0; i < c.configurations.size(); ++i) {
    if (std::ranges::find(ranking.order, i) == ranking.order.end()) order.push_back(i);
  }
  for (const std::size_t i : order) {
    by_configuration.push_back(c.configurations[i].runs);
    std::ranges::stable_sort(by_configuration.back(), {}, quality);
  }
  for (std::size_t seed = 0; chosen.size() < wanted; ++seed) {
    for (const auto& runs : by_configuration) {
      if (seed < runs.size() && chosen.size() < wanted) chosen.push_back(runs[seed]);
    }
  }
  return chosen;
}

std::string write_html(const ReportRequest& request, const Collection& c) {
  std::vector<Section> sections = comparison_sections(c);
  const std::size_t comparisons = sections.size();
  const std::vector<std::size_t> detailed = detailed_runs(c, request.details);
  for (std::size_t i = 0; i < detailed.size(); ++i) sections.push_back(section_of_run(c, detailed[i], i + 1));
  const std::vector<std::vector<std::string>> pictures = draw_sections(sections, request);

  Page page(c.sweeps.size() == 1 ? "Sweep " + c.sweeps[0] : c.runs.size() == 1 ? "Run " + c.runs[0].name() : fmt::format("{} runs", c.runs.size()));
  add_results(page, request, c);
  std::size_t left_out = 0;
  for (std::size_t i = 0; i < sections.size(); ++i) {
    if (i >= comparisons && page.bytes() + bytes_of(pictures[i]) > k_page_bytes) {
      ++left_out;
      continue;
    }
    page.heading(sections[i].heading);
    if (!sections[i].text.empty()) page.paragraph(sections[i].text);
    page.figures(sections[i].figures, pictures[i]);
  }
  std::string told;
  if (detailed.size() - left_out < c.runs.size()) {
    told = fmt::format("{} of {} runs are drawn one by one{}", detailed.size() - left_out, c.runs.size(),
                       left_out > 0 ? "; more would make the page larger than 5 MB" : " (--details N draws more)");
    page.paragraph(told + ".");
  }
  add_configuration(page, c);
  add_provenance(page, c, request.command);
  io::write_output("--html", request.html, page.html());
  return fmt::format("page: {}{}", request.html, told.empty() ? "" : "; " + told);
}

}  // namespace pleiad::report
