#include "pleiad/report/compare.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/comparison_figures.hpp"
#include "pleiad/report/html_report.hpp"

namespace pleiad::report {

namespace {

namespace fs = std::filesystem;

std::string pair_key(const Run& run, const std::vector<std::string>& keys) {
  std::string text = fmt::format("seed {}", run.seed);
  for (const std::string& key : keys) text += fmt::format(", {} = {}", key, value_of(run, key));
  return text;
}

std::map<std::string, std::vector<const Run*>> by_key(const Side& side, const std::vector<std::string>& keys) {
  std::map<std::string, std::vector<const Run*>> result;
  for (const Run& run : side.runs) result[pair_key(run, keys)].push_back(&run);
  return result;
}

std::string names(const std::vector<const Run*>& runs) {
  std::string text;
  for (std::size_t i = 0; i < runs.size() && i < 4; ++i) text += (i ? ", " : "") + runs[i]->name();
  return runs.size() > 4 ? text + fmt::format(" and {} more", runs.size() - 4) : text;
}

/// The fingerprint of the data, from the newest checkpoint of the run; empty if it has none.
std::string fingerprint(const Run& run) {
  std::error_code error;
  std::string newest;
  for (const auto& entry : fs::directory_iterator(run.path + "/checkpoints", error)) {
    if (entry.path().extension() == ".h5") newest = std::max(newest, entry.path().string());
  }
  if (newest.empty()) return "";
  try {
    const io::H5File file = io::H5File::open(newest);
    return file.has_attribute("/", "corpus_fingerprint") ? file.text("/", "corpus_fingerprint") : "";
  } catch (const UserError&) {  // a damaged checkpoint says nothing about the data
    return "";
  }
}

/// UserError if the data differ; a warning if that cannot be known, or evaluations differ in length.
std::string check_data(const Run& a, const Run& b) {
  const std::string x = fingerprint(a), y = fingerprint(b), name_a = a.value("data.corpus"), name_b = b.value("data.corpus");
  if (a.summary.task != b.summary.task) {
    user_error("report --compare: {} and {} have different tasks, {} and {}: their losses cannot be compared", a.name(), b.name(),
               model::task_name(a.summary.task), model::task_name(b.summary.task));
  }
  if (!x.empty() && !y.empty() && x != y) {
    user_error("report --compare: {} was trained on {} (fingerprint {}) and {} on {} ({}): losses on different data cannot be compared", a.name(),
               name_a, x, b.name(), name_b, y);
  }
  if (a.value("model.vocab") != b.value("model.vocab")) {
    user_error("report --compare: {} has {} different tokens and {} has {}: losses per token cannot be compared", a.name(), a.value("model.vocab"),
               b.name(), b.value("model.vocab"));
  }
  if (a.summary.targets != b.summary.targets || a.summary.floor != b.summary.floor) {
    return fmt::format("warning: the evaluations differ ({}: {}; {}: {}): a difference of losses may come from that", a.name(), a.data(), b.name(),
                       b.data());
  }
  if (name_a != name_b && (x.empty() || y.empty()))
    return fmt::format("warning: whether {} and {} hold the same data is not known: one of the runs has no checkpoint that says so", name_a, name_b);
  return "";
}

std::vector<const Run*> pointers(const Side& side) {
  std::vector<const Run*> runs;
  for (const Run& run : side.runs) runs.push_back(&run);
  return runs;
}

std::string values_in_words(const Side& side, const std::string& key) {
  std::set<std::string> values;
  for (const Run& run : side.runs) values.insert(run.value(key).empty() ? "-" : run.value(key));
  std::string text;
  for (const std::string& v : values) text += (text.empty() ? "" : " | ") + v;
  return text;
}

std::string side_in_words(const char* name, const Side& side) {
  return fmt::format("{}: {} ({} run{})", name, side.text, side.runs.size(), side.runs.size() == 1 ? "" : "s");
}

std::string pairs_in_words(const Pairing& p) {
  const std::size_t n = p.pairs.size();
  std::string text = fmt::format("{} pair{}, by the seed", n, n == 1 ? "" : "s");
  for (const std::string& key : p.keys) text += " and " + key;
  for (std::size_t i = 0; i < std::min<std::size_t>(n, 6); ++i)
    text += fmt::format("{}{} with {}", i ? ", " : ": ", p.pairs[i].first->name(), p.pairs[i].second->name());
  return n > 6 ? text + ", ..." : text;
}

/// The sides, the pairs, runs left over, and what makes the comparison doubtful.
std::vector<std::string> remarks_of(const Side& a, const Side& b, const Pairing& p, double confidence) {
  const std::size_t n = p.pairs.size();
  std::vector<std::string> lines = {side_in_words("A", a), side_in_words("B", b), pairs_in_words(p)};
  lines.push_back(n == 1 ? "One pair: differences without an interval; that needs two pairs."
                         : fmt::format("Intervals hold the true mean difference with {:g} % confidence (Student's t, {} degree{} of freedom).",
                                       100 * confidence, n - 1, n == 2 ? "" : "s"));
  for (const auto& more : {a.remarks, b.remarks, p.left_over}) lines.insert(lines.end(), more.begin(), more.end());
  std::string doubt;
  for (const auto& [x, y] : p.pairs) {
    const std::string warning = check_data(*x, *y);
    if (doubt.empty()) doubt = warning;
    for (const Run* run : {x, y}) {
      if (!run->complete())
        lines.push_back(fmt::format("warning: {} is not complete: {} of {} steps", run->name(), run->summary.steps, run->value("train.steps")));
    }
  }
  if (!doubt.empty()) lines.push_back(doubt);
  return lines;
}

/// The paired runs as two configurations, for the figures that know those.
Collection as_collection(const Side& a, const Side& b, const Pairing& p) {
  Collection c;
  c.configurations = {{"A: " + a.text, {}, {}}, {"B: " + b.text, {}, {}}};
  for (const auto& [x, y] : p.pairs) {
    for (const bool second : {false, true}) {
      c.configurations[second].runs.push_back(c.runs.size());
      c.runs.push_back(second ? *y : *x);
    }
  }
  return c;
}

void write_page(const ReportRequest& request, const Side& a, const Side& b, const Pairing& p, const std::vector<std::string>& remarks) {
  const Collection c = as_collection(a, b, p);
  std::vector<Figure> figures = loss_figures(c);
  figures.push_back(seeds_figure(c));
  const std::vector<std::string> pictures = draw_for_page(figures, request);
  Page page("A: " + a.text + ", B: " + b.text);
  page.heading("Differences");
  page.list(remarks);
  page.table(
      difference_table(p, request.confidence),
      "Means over the pairs, and their mean difference B - A with its interval. p: of so large a difference, or a larger one, if there were none.");
  page.heading("Curves");
  page.figures(figures, pictures);
  page.heading("Configuration");
  page.table(configuration_table(a, b), "What differs, beside the seed.", true);
  add_provenance(page, c, request.command);
  io::write_output("--html", request.html, page.html());
}

}  // namespace

Pairing pair_runs(const Side& a, const Side& b) {
  Pairing p;
  for (const std::string& key : a.keys) {
    if (std::ranges::find(b.keys, key) != b.keys.end()) p.keys.push_back(key);
  }
  const auto in_a = by_key(a, p.keys), in_b = by_key(b, p.keys);
  std::vector<std::string> order;
  for (const Run& run : a.runs) {
    const std::string key = pair_key(run, p.keys);
    if (std::ranges::find(order, key) == order.end()) order.push_back(key);
  }
  for (const std::string& key : order) {
    const auto& left = in_a.at(key);
    const auto found = in_b.find(key);
    if (found == in_b.end()) {
      p.left_over.push_back(fmt::format("left over: {} of A, for B has no run with {}", names(left), key));
    } else if (left.size() > 1 || found->second.size() > 1) {
      const bool many_in_a = left.size() > 1;
      p.left_over.push_back(fmt::format("left over: {} of A and {} of B, for {} has several runs with {}: choose among them with SWEEP:key=value",
                                        names(left), names(found->second), many_in_a ? "A" : "B", key));
    } else {
      p.pairs.emplace_back(left.front(), found->second.front());
    }
  }
  for (const auto& [key, right] : in_b) {
    if (!in_a.count(key)) p.left_over.push_back(fmt::format("left over: {} of B, for A has no run with {}", names(right), key));
  }
  return p;
}

Table difference_table(const Pairing& p, double confidence) {
  Table table;
  table.columns = {{"metric", "metric", true},
                   {"unit", "", true},
                   {"pairs", "pairs"},
                   {"mean A", "mean_a"},
                   {"mean B", "mean_b"},
                   {"B - A", "difference"},
                   {fmt::format("{:g} % interval", 100 * confidence), "low"},
                   {"", "high", false, true},
                   {"p", "p"}};
  std::vector<const Run*> all;
  for (const auto& [a, b] : p.pairs) all.insert(all.end(), {a, b});
  for (const Metric& m : comparison_metrics(all)) {
    std::vector<double> a, b;
    for (const auto& [x, y] : p.pairs) {
      if (!m.value(*x) || !m.value(*y)) continue;
      a.push_back(*m.value(*x));
      b.push_back(*m.value(*y));
    }
    if (a.empty()) continue;
    const Difference d = paired_difference(a, b, confidence);
    const auto cell = [&](double x) { return Table::Cell{m.shown(x), fmt::format("{}", x)}; };
    // The CSV file is in the unit of the record, as that of a report.
    std::vector<Table::Cell> row = {{m.title, m.csv},        {m.unit, ""}, {fmt::format("{}", d.n), fmt::format("{}", d.n)}, cell(spread_of(a).mean),
                                    cell(spread_of(b).mean), cell(d.mean)};
    if (d.mean > 0) row.back().shown = "+" + row.back().shown;
    if (d.has_interval) {
      row.insert(row.end(), {{fmt::format("{} to {}", m.shown(d.low), m.shown(d.high)), fmt::format("{}", d.low)},
                             {"", fmt::format("{}", d.high)},
                             {d.p < 1e-4 ? "< 0.0001" : fmt::format("{:.4f}", d.p), fmt::format("{}", d.p)}});
    } else {
      row.insert(row.end(), {{"-", ""}, {"", ""}, {"-", ""}});
    }
    table.rows.push_back(std::move(row));
    table.marks.push_back(d.separable() && m.better != Better::neither ? ((d.mean < 0) == (m.better == Better::lower) ? "B better" : "A better")
                                                                       : "");
  }
  return table;
}

Table configuration_table(const Side& a, const Side& b) {
  Table table;
  table.columns = {{"key", "key", true}, {"A", "a", true}, {"B", "b", true}};
  std::vector<const Run*> all = pointers(a), more = pointers(b);
  all.insert(all.end(), more.begin(), more.end());
  for (const std::string& key : differing_keys(all)) {
    const std::string x = values_in_words(a, key), y = values_in_words(b, key);
    table.rows.push_back({{key, key}, {x, x}, {y, y}});
    table.marks.push_back(x == y ? "varies within both alike" : "");
  }
  std::set<i64> ranks_a, ranks_b;
  for (const Run& run : a.runs) ranks_a.insert(run.ranks);
  for (const Run& run : b.runs) ranks_b.insert(run.ranks);
  if (ranks_a != ranks_b)
    table.notes.push_back(
        fmt::format("ranks: {} in A, {} in B: times and bytes depend on them", fmt::join(ranks_a, " | "), fmt::join(ranks_b, " | ")));
  return table;
}

std::string compare(const ReportRequest& request) {
  check_output(request);
  const Side a = select_side(request.paths.at(0)), b = select_side(request.paths.at(1));
  const Pairing pairing = pair_runs(a, b);
  if (pairing.pairs.empty())
    user_error("report --compare {} {}: no pair of runs; {}", a.text, b.text,
               pairing.left_over.empty() ? "nothing to pair" : pairing.left_over.front());
  const Table differences = difference_table(pairing, request.confidence), keys = configuration_table(a, b);
  const std::vector<std::string> remarks = remarks_of(a, b, pairing, request.confidence);
  if (!request.csv.empty()) io::write_output("--csv", request.csv, as_csv(differences));
  std::string text;
  for (const std::string& line : remarks) text += line + "\n";
  text += "\n" + as_text(differences) + "\n";
  text += keys.rows.empty() ? "The configurations differ in nothing but the seed.\n" : "What differs in the configuration:\n" + as_text(keys);
  if (request.html.empty()) return text;
  write_page(request, a, b, pairing, remarks);
  return text + "page: " + request.html + "\n";
}

}  // namespace pleiad::report
