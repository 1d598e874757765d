#include "pleiad/report/predictions.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/report/run.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_links = 3;

std::string bytes_in_words(double bytes) {
  for (const char* unit : {"B", "KiB", "MiB"}) {
    if (bytes < 1024) return fmt::format("{:.4g} {}", bytes, unit);
    bytes /= 1024;
  }
  return fmt::format("{:.4g} GiB", bytes);
}

const sim::RankMemory& fullest(const sim::Prediction& p) { return *std::ranges::max_element(p.memory, {}, &sim::RankMemory::total); }

/// Phases of one prediction over its ranks, its path, links, memory.
std::string details_in_words(const sim::Prediction& p) {
  std::string text = fmt::format("\n{} ranks, milliseconds by phase, waits for others included\n", p.ranks);
  Table t;
  t.columns.push_back({"phase", "", true});
  for (const char* title : {"least", "mean", "most", "of rank", "critical path"}) t.columns.push_back({title, ""});
  for (int phase = 0; phase < k_phase_count; ++phase) {
    i64 slowest = 0;
    double least = HUGE_VAL, most = 0;
    for (i64 r = 0; r < p.ranks; ++r) {
      const double s = p.phase_seconds[static_cast<std::size_t>(r * k_phase_count + phase)];
      least = std::min(least, s);
      if (s > most) most = s, slowest = r;
    }
    if (most == 0) continue;
    t.rows.emplace_back();
    for (const std::string& shown : {std::string(phase_name(static_cast<Phase>(phase))), fmt::format("{:.3f}", 1e3 * least), fmt::format("{:.3f}", 1e3 * p.mean_of(static_cast<Phase>(phase))),
                                     fmt::format("{:.3f}", 1e3 * most), fmt::format("{}", slowest), fmt::format("{:.3f}", 1e3 * p.path_seconds[static_cast<std::size_t>(phase)])}) {
      t.rows.back().push_back({shown, ""});
    }
  }
  text += as_text(t) + "critical path: " + p.path_in_words() + "\n";
  for (std::size_t i = 0; i < std::min(k_links, p.links.size()); ++i) {
    text += fmt::format("busiest link: {}, {} in a step, {:.3f} ms\n", p.links[i].name, bytes_in_words(p.links[i].bytes), 1e3 * p.links[i].seconds);
  }
  const sim::RankMemory& m = fullest(p);
  return text + fmt::format("memory of the fullest rank: weights {}, gradients {}, moments {}, activations {}, rows of others {}\n", bytes_in_words(m.weights), bytes_in_words(m.gradients), bytes_in_words(m.moments),
                            bytes_in_words(m.activations), bytes_in_words(m.exchange));
}

}  // namespace

std::string PredictedSteps::cluster() const {
  const std::map<std::string, std::string> values = parse_config(record.cluster);
  const auto value = [&](const char* key) { return values.count(key) ? values.at(key) : ""; };
  const std::string origin = value("cluster.origin");
  return value("cluster.name") + (origin.empty() ? "" : " (" + origin + ")");
}

std::string PredictedSteps::scaling() const {
  const auto alike = [&](auto of) { return std::ranges::all_of(record.predictions, [&](const sim::Prediction& p) { return of(p) == of(record.predictions.front()); }); };
  if (alike([](const sim::Prediction& p) { return p.tokens; })) return "strong scaling: the same batch for all";
  if (alike([](const sim::Prediction& p) { return static_cast<double>(p.tokens) / static_cast<double>(p.ranks); })) return "weak scaling: as many tokens for each rank";
  return "batches that grow otherwise than the ranks";
}

std::vector<PredictedSteps> read_predictions(const std::vector<std::string>& paths) {
  std::vector<PredictedSteps> files;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    if (std::filesystem::is_directory(path)) user_error("report {}: is no file of predictions, as others are; report runs and predictions one after the other", path);
    if (!seen.insert(std::filesystem::weakly_canonical(path).string()).second) user_error("report {}: is given twice", path);
    files.push_back({path, io::read_simulation(path)});
  }
  return files;
}

Table table_of_predictions(const std::vector<PredictedSteps>& files) {
  const bool several = files.size() > 1, measured = std::ranges::any_of(files, [](const PredictedSteps& f) { return f.record.measured.has_value(); });
  Table t;
  t.columns = {{"ranks", "ranks"}, {"nodes", "nodes"}, {"", "tokens", false, true}, {"step ms", "seconds"}, {"tokens/s", "tokens_per_second"}, {"efficiency", "efficiency"},
               {"computing", "computing"}, {"travelling", "travelling"}, {"waiting", "waiting"}, {"MiB per rank", "memory_bytes"}};
  if (measured) t.columns.insert(t.columns.end(), {{"measured ms", "measured_seconds"}, {"error", "error"}});
  t.columns.push_back({"exchange", "exchange", true});
  if (several) t.columns.insert(t.columns.begin(), {"file", "file", true});
  for (const PredictedSteps& f : files) {
    for (std::size_t i = 0; i < f.record.predictions.size(); ++i) {
      const sim::Prediction& p = f.record.predictions[i];
      const double wait = std::accumulate(p.wait_seconds.begin(), p.wait_seconds.end(), 0.0) / static_cast<double>(p.ranks) / p.seconds, compute = p.efficiency(), memory = fullest(p).total();
      const auto whole = [](i64 n) { return Table::Cell{fmt::format("{}", n), fmt::format("{}", n)}; };
      const auto cell = [](std::string shown, double x) { return Table::Cell{std::move(shown), fmt::format("{}", x)}; };
      const auto share = [&](double x) { return cell(fmt::format("{:.1f} %", 100 * x), x); };
      std::vector<Table::Cell> row = {whole(p.ranks), whole(p.nodes), whole(p.tokens), cell(fmt::format("{:.3f}", 1e3 * p.seconds), p.seconds), cell(fmt::format("{:.0f}", p.tokens_per_second()), p.tokens_per_second()),
                                      cell(fmt::format("{:.3f}", p.efficiency()), p.efficiency()), share(compute), share(std::max(0.0, 1 - compute - wait)), share(wait),
                                      cell(fmt::format("{:.1f}", memory / (1 << 20)), memory)};
      if (measured && f.record.measured && i == 0) {
        const double took = f.record.measured->seconds, error = f.record.measured->predicted / took - 1;
        row.insert(row.end(), {cell(fmt::format("{:.3f}", 1e3 * took), took), cell(fmt::format("{:+.1f} %", 100 * error), error)});
      } else if (measured) {
        row.insert(row.end(), {{"-", ""}, {"-", ""}});
      }
      row.push_back({p.exchange, p.exchange});
      if (several) row.insert(row.begin(), {f.name, f.name});
      t.rows.push_back(std::move(row));
    }
  }
  return t;
}

std::string predictions_in_words(const std::vector<PredictedSteps>& files) {
  std::string text;
  for (const PredictedSteps& f : files) text += fmt::format("predicted, not measured: {} on {}; routing {}\n", f.name, f.cluster(), f.record.demand);
  text += as_text(table_of_predictions(files));
  if (files.size() == 1) text += details_in_words(files[0].record.predictions.back());
  for (const PredictedSteps& f : files) {
    for (const sim::Prediction& p : f.record.predictions) {
      for (const std::string& note : p.notes) text += fmt::format("note, {}{} ranks: {}\n", files.size() > 1 ? f.name + ", " : "", p.ranks, note);
    }
  }
  return text;
}

}  // namespace pleiad::report
