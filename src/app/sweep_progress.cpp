#include "pleiad/app/sweep_progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "pleiad/app/terminal.hpp"

namespace pleiad::app {

using sweep::PointStatus, sweep::State;

namespace {

constexpr std::size_t k_many = 40;  // points; beyond that only those that need somebody's attention are listed

/// Columns of even width, the first to the left.
void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const bool left = c == 0 || c + 1 == row.size();
      line += (c ? "  " : "") + (left ? fmt::format("{:<{}}", row[c], width[c]) : fmt::format("{:>{}}", row[c], width[c]));
    }
    while (line.ends_with(' ')) line.pop_back();
    std::cout << line << "\n";
  }
}

double work_of(const io::SweepPoint& p) { return p.sizes.count("training_flops") ? p.sizes.at("training_flops") : 0; }

/// Seconds until all is done, as far as finished points tell; negative: unknown.
double outlook_of(const std::vector<PointStatus>& status) {
  double finished = 0, seconds = 0, left = 0;
  i64 running = 0;
  for (const PointStatus& s : status) {
    if (s.state == State::finished && s.seconds > 0) finished += 1, seconds += s.seconds;
    if (s.state == State::waiting || s.state == State::stopped) left += 1;
    if (s.state == State::running) {
      ++running;
      left += s.steps > 0 ? 1 - static_cast<double>(s.step) / static_cast<double>(s.steps) : 1;
    }
  }
  return finished > 0 && running > 0 ? left * seconds / finished / static_cast<double>(running) : -1;
}

}  // namespace

void print_plan(const io::SweepIndex& index) {
  std::vector<std::vector<std::string>> rows(1);
  for (const std::string& key : index.keys) rows[0].push_back(key);
  for (const char* title : {"seed", "ranks", "params M", "active M", "Mflop/token", "training Tflop", "point"}) rows[0].emplace_back(title);
  for (const io::SweepPoint& p : index.points) {
    if (rows.size() > k_many) break;
    rows.emplace_back();
    const auto size = [&](const char* name, double unit) { return p.sizes.count(name) ? fmt::format("{:.4f}", p.sizes.at(name) / unit) : "-"; };
    for (const std::string& key : index.keys) rows.back().push_back(p.settings.count(key) ? p.settings.at(key) : "");
    for (const std::string& cell : {fmt::format("{}", p.seed), fmt::format("{}", p.ranks), size("total_parameters", 1e6), size("active_parameters", 1e6),
                                    size("flops_per_token", 1e6), size("training_flops", 1e12), p.name}) rows.back().push_back(cell);
  }
  print_table(rows);
  if (index.points.size() > k_many) std::cout << fmt::format("... and {} more\n", index.points.size() - k_many);
}

std::string in_words(const std::vector<PointStatus>& status) {
  std::string line = fmt::format("{} point{}: ", status.size(), status.size() == 1 ? "" : "s");
  bool first = true;
  for (const State state : {State::finished, State::running, State::stopped, State::waiting, State::failed, State::damaged}) {
    const i64 n = std::ranges::count(status, state, &PointStatus::state);
    if (n == 0) continue;
    line += fmt::format("{}{} {}", first ? "" : ", ", n, sweep::state_name(state));
    first = false;
  }
  return line;
}

void print_status(const io::SweepIndex& index, const std::vector<PointStatus>& status, bool all) {
  std::vector<std::vector<std::string>> rows = {{"point", "state", "step", "loss", "ETA", "tries", ""}};
  for (std::size_t i = 0; i < index.points.size(); ++i) {
    const PointStatus& s = status[i];
    if (!all && index.points.size() > k_many && (s.state == State::finished || s.state == State::waiting)) continue;
    rows.push_back({index.points[i].name, sweep::state_name(s.state), s.steps > 0 ? fmt::format("{}/{}", s.step, s.steps) : "",
                    std::isnan(s.loss) ? "" : fmt::format("{:.4f}", s.loss), s.eta_seconds >= 0 ? duration(s.eta_seconds) : "", fmt::format("{}", s.attempts),
                    s.job.empty() ? s.note : fmt::format("job {}{}{}", s.job, s.note.empty() ? "" : ": ", s.note)});
  }
  if (rows.size() > 1) print_table(rows);
  const double left = outlook_of(status);
  std::cout << in_words(status) << (left >= 0 ? fmt::format("; about {} to go", duration(left)) : "") << "\n";
}

SweepProgress::SweepProgress(const io::SweepIndex& index, const std::vector<sweep::Job>& jobs)
    : index_(index), points_(jobs.size()), is_terminal_(isatty(STDOUT_FILENO)) {
  for (const sweep::Job& j : jobs) weighted_ = weighted_ && work_of(*j.point) > 0;
  for (const sweep::Job& j : jobs) work_ += weighted_ ? work_of(*j.point) : 1;
}

std::string SweepProgress::outlook() const {
  return done_ > 0 ? "ETA " + duration(watch_.seconds() * (work_ - done_) / done_) : "ETA unknown";
}

void SweepProgress::say(const std::string& line) {
  if (line_open_) std::cout << "\r\033[K";
  line_open_ = false;
  std::cout << line << std::endl;
}

void SweepProgress::tell(const sweep::Event& e) {
  using Kind = sweep::Event::Kind;
  if (e.kind == Kind::ended) {
    const PointStatus s = sweep::point_status(index_, *e.point);
    ++ended_;
    done_ += weighted_ ? work_of(*e.point) : 1;
    std::string line = fmt::format("{:>4}/{}  {}  {}", ended_, points_, e.point->name, sweep::state_name(s.state));
    if (!std::isnan(s.loss)) line += fmt::format("  loss {:.4f}", s.loss);
    line += fmt::format("  {}  ", duration(s.seconds));
    say(line + (s.note.empty() ? outlook() : s.note));
    since_line_.restart();
    return;
  }
  const double every = is_terminal_ ? 0.5 : 30;
  if (e.kind != Kind::waiting || since_line_.seconds() < every) return;
  since_line_.restart();
  const std::string line = fmt::format("{} running, {} waiting, {} done, {} so far, {}", e.running, e.left, ended_, duration(watch_.seconds()), outlook());
  if (!is_terminal_) return say(line);
  std::cout << "\r\033[K" << line << std::flush;
  line_open_ = true;
}

void SweepProgress::end() {
  if (line_open_) std::cout << "\r\033[K" << std::flush;
  line_open_ = false;
}

}  // namespace pleiad::app
