#include "pleiad/app/terminal.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <numeric>

#include "pleiad/report/table.hpp"

namespace pleiad::app {

bool person_watches() {
  if (!isatty(STDOUT_FILENO)) return false;
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return true;
  std::error_code error;
  const std::string to = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/1", getppid()), error).string();
  return to.starts_with("/dev/pts/") || to.starts_with("/dev/tty");
}

Terminal::Terminal(Options options) : options_(std::move(options)), is_terminal_(person_watches()) {
  if (!options_.log.empty()) log_.open(options_.log, std::ios::app);
}

void Terminal::say(const std::string& line) {
  if (line_open_) std::cout << "\n";
  line_open_ = false;
  std::cout << line << std::endl;
  log(line);
}

/// A run can do without; it is tried again with every line.
void Terminal::log(const std::string& line) {
  log_.clear();
  if (options_.log.empty() || log_ << line << std::endl || std::exchange(log_failed_, true)) return;
  std::cout << fmt::format("note: {}: cannot be written ({}); the run goes on, but not all of it will stand there", options_.log, std::strerror(errno)) << std::endl;
}

namespace {

/// What the routers of one step did, as far as it says something: mean K where K varies, drops where there are any, and so on.
std::string routing_in_words(const train::StepRecord& r) {
  double worst = 1, worst_flops = 1, k = 0, entropy = 0, sharing = 0;
  i64 dropped = 0, selected = 0;
  bool varies = false;
  const double layers = static_cast<double>(r.layers.size());
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    const model::LayerStatistics& counts = *r.layers[l];
    const train::LayerFigures& f = r.figures[l];
    worst = std::max(worst, f.load.imbalance);
    worst_flops = std::max(worst_flops, f.load.flops_imbalance);
    k += f.mean_k / layers;
    entropy += counts.router_entropy / layers;
    sharing += f.tokens_per_generated / layers;
    dropped += counts.dropped();
    selected += counts.selected;
    varies = varies || counts.selected % std::max<i64>(counts.tokens, 1) != 0 || std::ranges::count_if(counts.k_tokens, [](i64 n) { return n > 0; }) > 1;
  }
  std::string line = fmt::format("  imbalance {:.2f} (flops {:.2f})", worst, worst_flops);
  if (varies) line += fmt::format("  K {:.2f}", k);
  if (entropy > 0) line += fmt::format("  entropy {:.2f}", entropy);
  if (dropped > 0) line += fmt::format("  dropped {:.1f} %", 100.0 * static_cast<double>(dropped) / static_cast<double>(selected));
  if (sharing > 0) line += fmt::format("  {:.0f} tokens per generated expert", sharing);
  return line;
}

}  // namespace

std::string Terminal::progress(const train::StepRecord& r) const {
  std::string line = fmt::format("step {:>6}/{}  loss {:.4f}", r.step, options_.last_step, r.loss.task);
  if (!r.layers.empty()) line += routing_in_words(r);
  line += fmt::format("  {:.0f} tokens/s  ETA {}", static_cast<double>(r.tokens) / recent_, duration(recent_ * static_cast<double>(options_.last_step - r.step)));
  return line;
}

void Terminal::on_step(const train::StepRecord& r) {
  ++steps_;
  tokens_ += r.tokens;
  step_seconds_ += r.seconds;
  recent_ = steps_ == 1 ? r.seconds : 0.95 * recent_ + 0.05 * r.seconds;
  phases_.resize(r.phase_seconds.size(), 0.0);
  for (std::size_t i = 0; i < phases_.size(); ++i) phases_[i] += r.phase_seconds[i];
  const bool last = r.step == options_.last_step;
  if (is_terminal_) {
    if (!last && steps_ > 1 && since_line_.seconds() < 0.2) return;
    since_line_.restart();
    std::cout << "\r\033[K" << progress(r) << std::flush;
    line_open_ = true;
    if (last || r.step % 50 == 0) log(progress(r));
    return;
  }
  // Plain lines: the first, the last, and one every few seconds between.
  if (!last && steps_ > 1 && since_line_.seconds() < 10) return;
  since_line_.restart();
  say(progress(r));
}

void Terminal::on_evaluation(i64 step, const train::EvalReport& r) {
  const bool labels = r.task == model::Task::classifier;
  const std::string target = labels ? "label" : r.task == model::Task::masked_lm ? "masked token" : "token";
  std::string line = fmt::format("evaluation at step {}: loss {:.4f} nat/{}", step, r.loss, target);
  if (r.floor) line += fmt::format(", {:.4f} above the floor of {:.4f}", r.loss - *r.floor, *r.floor);
  line += fmt::format(", accuracy {:.2f} %", 100 * r.accuracy);
  if (labels) line += fmt::format(", Matthews correlation {:.4f}", train::matthews_correlation(r.confusion));
  line += labels ? fmt::format(" ({} texts)", r.targets) : fmt::format(" ({} windows, {} {}s)", r.windows, r.targets, target);
  say(line);
  if (!r.domains.empty()) {
    std::vector<std::string> parts;
    for (std::size_t d = 0; d < r.domains.size(); ++d) {
      if (r.domain_targets[d] == 0) continue;
      parts.push_back(r.domain_floor.empty() ? fmt::format("{} {:.3f}", r.domains[d], r.domain_loss[d])
                                             : fmt::format("{} {:+.3f}", r.domains[d], r.domain_loss[d] - r.domain_floor[d]));
    }
    say(fmt::format("  {} by domain: {}", r.domain_floor.empty() ? "loss" : "above the floor", fmt::join(parts, ", ")));
  }
  for (std::size_t l = 0; l < r.figures.size(); ++l) {
    const train::LayerFigures& f = r.figures[l];
    line = fmt::format("  block {}: usage {:.1f} %, unevenness {:.3f}, dead {}, overloaded {}, flops imbalance {:.2f}, {:.4g} kflop/token, knows", r.blocks[l],
                       100 * f.use.usage, f.use.unevenness, f.load.dead, f.load.overloaded, f.load.flops_imbalance, f.flops_per_token * 1e-3);
    if (!r.alignment.empty()) line += fmt::format(" {:.3f} of the domain,", r.alignment[l]);
    say(line + fmt::format(" {:.3f} of the token", r.token_alignment[l]));
  }
  if (!r.figures.empty()) say(fmt::format("  {:.3f} M active parameters, {:.3f} Mflop per token", r.active_parameters * 1e-6, r.flops_per_token * 1e-6));
}

void Terminal::on_sample(const train::Sample& sample) {
  say("sample: " + report::clean_text(options_.decode(sample.text)));  // a model that knows little yet makes anything
}

void Terminal::on_checkpoint(i64 step, double seconds, i64 bytes) {
  say(fmt::format("checkpoint at step {}: {:.1f} MB in {:.2f} s", step, static_cast<double>(bytes) * 1e-6, seconds));
}

void Terminal::on_bad_numbers(const train::BadNumbers& bad, const std::string& then) {
  say(fmt::format("step {}: {} is not finite, on rank {}; {}", bad.step, bad.where, bad.rank, then));
}

void Terminal::on_placement(const train::PlacementRecord& r) {
  if (r.moved == 0) {
    return say(fmt::format("placement at step {}: heaviest rank {:.2f} of the mean, could be {:.2f}; moving {} experts would take {:.3g} s and save {:.3g} s: left", r.step,
                           r.peak_before, r.peak_after, r.wanted, r.cost, r.gain));
  }
  say(fmt::format("placement at step {}: heaviest rank {:.2f} of the mean, now {:.2f}; {} experts moved, {:.1f} MB in {:.3g} s, to save {:.3g} s", r.step, r.peak_before,
                  r.peak_after, r.moved, static_cast<double>(r.bytes) * 1e-6, r.seconds, r.gain));
}

void Terminal::phase_table() {
  if (steps_ == 0) return;
  say(fmt::format("{} steps, {} tokens in {} ({:.0f} tokens/s); milliseconds per step by phase, over {} rank{}:", steps_, tokens_,
                  duration(since_start_.seconds()), static_cast<double>(tokens_) / step_seconds_, options_.ranks, options_.ranks == 1 ? "" : "s"));
  say("  phase            min      avg      max   % of step");
  const double per_step = 1000.0 / static_cast<double>(steps_);
  double rest = step_seconds_;
  const auto line = [&](Phase p) {
    std::vector<double> over_ranks;
    for (i64 r = 0; r < options_.ranks; ++r) over_ranks.push_back(phases_[r * k_phase_count + static_cast<int>(p)]);
    const double mean = std::accumulate(over_ranks.begin(), over_ranks.end(), 0.0) / static_cast<double>(options_.ranks);
    if (mean == 0) return 0.0;
    say(fmt::format("  {:<12} {:>7.2f}  {:>7.2f}  {:>7.2f}   {:>5.1f}", phase_name(p), *std::ranges::min_element(over_ranks) * per_step,
                    mean * per_step, *std::ranges::max_element(over_ranks) * per_step, 100 * mean / step_seconds_));
    return mean;
  };
  const auto beside_step = [](Phase p) { return p == Phase::metrics || p == Phase::evaluate || p == Phase::checkpoint; };
  for (int p = 0; p < k_phase_count; ++p) {
    if (!beside_step(static_cast<Phase>(p))) rest -= line(static_cast<Phase>(p));
  }
  say(fmt::format("  {:<12}          {:>7.2f}            {:>5.1f}", "other", std::max(rest, 0.0) * per_step, 100 * std::max(rest, 0.0) / step_seconds_));
  say("beside the steps, in the same units:");
  for (const Phase p : {Phase::metrics, Phase::evaluate, Phase::checkpoint}) line(p);
}

}  // namespace pleiad::app
