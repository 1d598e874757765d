// What a run cost: time by phase and rank, bytes between ranks.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/report/run_figures.hpp"

namespace pleiad::report {

namespace {

constexpr std::size_t k_ranks = 64;

/// The number of ranks, as text, with the most rows in /GROUP/P/step; empty if there is none.
std::string most_used_ranks(const io::H5File& file, const std::string& group) {
  std::string best;
  i64 most = 0;
  for (const std::string& ranks : file.exists(group) ? file.list(group) : std::vector<std::string>{}) {
    const i64 rows = file.exists(group + "/" + ranks + "/step") ? file.extent(group + "/" + ranks + "/step", 0) : 0;
    if (rows > most) {
      most = rows;
      best = ranks;
    }
  }
  return best;
}

/// Milliseconds per step: [ranks][phases].
std::vector<std::vector<double>> phase_times(const RunData& d, const std::string& ranks, std::size_t phases) {
  const std::string dataset = "/ranks/" + ranks + "/phase_seconds";
  const std::vector<double> sums = read_sum(d.file, dataset);
  const double rows = static_cast<double>(d.file.extent(dataset, 0));
  std::vector<std::vector<double>> times;
  for (std::size_t r = 0; (r + 1) * phases <= sums.size(); ++r) {
    times.emplace_back(sums.begin() + static_cast<std::ptrdiff_t>(r * phases), sums.begin() + static_cast<std::ptrdiff_t>((r + 1) * phases));
    for (double& x : times.back()) x *= 1000 / rows;
  }
  return times;
}

Figure phase_figure(const RunData& d) {
  Figure f{.id = d.id + "-phases", .title = "Time per phase and rank"};
  const std::string ranks = most_used_ranks(d.file, "/ranks");
  if (ranks.empty()) return absent_figure(f.id, f.title, "The run has made no step yet.");
  const std::vector<std::string> names = d.file.read_texts("/phases");
  const std::vector<std::vector<double>> times = phase_times(d, ranks, names.size());
  PhaseBars bars{.title = "time per step", .x_label = "rank", .y_label = "time per step [ms]", .unit = "ms", .phases = names};
  const std::size_t step = (times.size() + k_ranks - 1) / k_ranks;
  for (std::size_t r = 0; r < times.size(); r += step) {
    bars.places.push_back(static_cast<double>(r));
    bars.values.push_back(times[r]);
  }
  add_phase_bars(f, bars);
  f.caption = fmt::format(
      "Wall time of each rank by phase, mean over the steps; evaluations, checkpoints and metrics are spread over the steps between them.{}",
      step > 1 ? fmt::format(" Every {}th of {} ranks.", step, times.size()) : "");
  return f;
}

/// Steps that the rows of /pairs/P cover: those with this number of ranks up to the last row.
double covered_steps(const RunData& d, const std::string& ranks) {
  const std::vector<double> last = read_last_row(d.file, "/pairs/" + ranks + "/step");
  double steps = 0;
  for (const auto& row : read_all_rows(d.file, "/ranks/" + ranks + "/step")) steps += row[0] <= last[0] ? 1 : 0;
  return steps;
}

Figure pairs_figure(const RunData& d) {
  Figure f{.id = d.id + "-pairs", .title = "Bytes between ranks"};
  if (d.blocks.empty()) return absent_figure(f.id, f.title, "This run has no experts: no tokens travelled between ranks.");
  if (d.run.ranks == 1 && most_used_ranks(d.file, "/ranks") == "1") return absent_figure(f.id, f.title, "The run had one rank: nothing was sent.");
  const std::string ranks = most_used_ranks(d.file, "/pairs");
  if (ranks.empty()) {
    return absent_figure(f.id, f.title,
                         d.file.exists("/pairs") ? "Bytes by pair of ranks are written at evaluations, and there was none yet."
                                                 : "The record has no bytes by pair of ranks: an older version wrote it.");
  }
  const std::vector<double> sums = read_sum(d.file, "/pairs/" + ranks + "/bytes");
  const std::size_t n = static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(sums.size()))));
  const double steps = std::max(1.0, covered_steps(d, ranks));
  if (n < 2) return absent_figure(f.id, f.title, "The run had one rank: nothing was sent.");
  HeatMap map{"", "to rank", "from rank", "bytes per step [byte]", {}, {}, {}};
  double most = 0;
  for (std::size_t i = 0; i < n; ++i) {
    map.x.push_back(static_cast<double>(i));
    map.y.push_back(static_cast<double>(i));
    map.value.emplace_back();
    for (std::size_t j = 0; j < n; ++j) {
      map.value.back().push_back(sums[i * n + j] / steps);
      most = std::max(most, map.value.back().back());
    }
  }
  if (most == 0) return absent_figure(f.id, f.title, "No rank sent anything to another one.");
  const Prefix prefix = prefix_for(most);
  map.scale = prefix.factor;
  map.top = most / prefix.factor;
  map.downward = true;
  map.numbers = n <= 8;
  add_heat_map(f, map,
               {"set cblabel " + quote(prefix.name + "byte per step"), n <= 16 ? "set xtics 1" : "set xtics auto",
                n <= 16 ? "set ytics 1" : "set ytics auto"});
  f.height = 420;
  f.caption = fmt::format(
      "Bytes that the expert exchange sends from one rank to another, forward and backward, all layers, mean over {:.0f} steps on {} ranks.", steps,
      ranks);
  return f;
}

}  // namespace

std::vector<Figure> cost_figures(const RunData& d) { return {phase_figure(d), pairs_figure(d)}; }

}  // namespace pleiad::report
