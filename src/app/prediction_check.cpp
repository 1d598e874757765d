#include "pleiad/app/prediction_check.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/app/step_model.hpp"
#include "pleiad/bench/measurement.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::app {

namespace {

constexpr i64 k_not_counted = 2;      // first steps of a part: they meet memory that nobody has touched
constexpr std::size_t k_kept = 1000;  // steps
constexpr Phase k_beside[] = {Phase::metrics, Phase::evaluate, Phase::checkpoint};  // not part of a step's seconds

bool is_beside(Phase phase) { return std::ranges::find(k_beside, phase) != std::end(k_beside); }

std::string in_ms(double seconds) { return fmt::format("{:.3f}", 1e3 * seconds); }
std::string error_in_words(double predicted, double measured) { return predicted > 0 && measured > 0 ? fmt::format("{:+.1f} %", 100 * (predicted / measured - 1)) : ""; }

}  // namespace

PredictionCheck::PredictionCheck(sim::Cluster cluster, std::string config, i64 vocab, i64 ranks) : cluster_(cluster.with_ranks(ranks)), config_(std::move(config)), vocab_(vocab), ranks_(ranks) {}

void PredictionCheck::on_step(const train::StepRecord& r) {
  if (++steps_ <= k_not_counted || r.skipped) return;
  std::vector<double> row(1 + k_phase_count, 0.0);
  row[0] = r.seconds;
  for (std::size_t i = 0; i < r.phase_seconds.size(); ++i) row[1 + i % k_phase_count] += r.phase_seconds[i] / static_cast<double>(ranks_);
  seconds_.push_back(std::move(row));
  if (seconds_.size() > k_kept) seconds_.pop_front();
  expert_tokens_.resize(r.layers.size());
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    expert_tokens_[l].resize(r.layers[l]->expert_tokens.size(), 0.0);
    for (const i64 e : r.layers[l]->used) expert_tokens_[l][static_cast<std::size_t>(e)] += static_cast<double>(r.layers[l]->expert_tokens[static_cast<std::size_t>(e)]);
  }
  tokens_ += static_cast<double>(r.tokens);
}

PredictionCheck::Result PredictionCheck::compare() const {
  if (seconds_.empty()) user_error("--predict: {} steps were made; more than {} are needed, the first ones are not counted", steps_, k_not_counted);
  Config config = Config::parse(config_, "the run");
  config.set_all({fmt::format("model.vocab={}", vocab_)});
  double kept = 0;
  for (const std::vector<double>& layer : expert_tokens_) kept += std::accumulate(layer.begin(), layer.end(), 0.0) / tokens_ / static_cast<double>(expert_tokens_.size());
  const SimulatedRun run = read_simulated_run(config, {0, kept});
  std::vector<std::vector<double>> shares = expert_tokens_;
  for (std::vector<double>& layer : shares) {
    for (double& share : layer) share /= tokens_ * static_cast<double>(run.shape.heads);
  }
  const std::unique_ptr<sim::Demand> demand = sim::as_often(std::move(shares), run.shape);
  const std::unique_ptr<sim::Engine> engine = sim::make_engine("analytic");
  sim::Prediction p = sim::predict({run.model, cluster_, ranks_, *demand, *engine, 0});
  p.notes.insert(p.notes.end(), run.notes.begin(), run.notes.end());

  io::SimulationRecord::Measured measured{static_cast<i64>(seconds_.size()), 0, {}};
  const auto median_of = [&](std::size_t column) {
    std::vector<double> values;
    for (const std::vector<double>& row : seconds_) values.push_back(row[column]);
    return bench::spread_of(std::move(values)).median;
  };
  measured.seconds = median_of(0);
  for (std::size_t phase = 0; phase < k_phase_count; ++phase) measured.phase_seconds.push_back(median_of(1 + phase));

  report::Table t;
  t.columns = {{"phase", "", true}, {"predicted ms", ""}, {"measured ms", ""}, {"error", ""}};
  const auto add = [&](const std::vector<std::string>& cells) {
    t.rows.emplace_back();
    for (const std::string& c : cells) t.rows.back().push_back({c, c});
  };
  double predicted = p.seconds;
  for (int i = 0; i < k_phase_count; ++i) {
    const Phase phase = static_cast<Phase>(i);
    const double mean = p.mean_of(phase), took = measured.phase_seconds[static_cast<std::size_t>(i)];
    if (is_beside(phase)) predicted -= mean;
    else if (mean > 0 || took > 0) add({phase_name(phase), in_ms(mean), in_ms(took), error_in_words(mean, took)});
  }
  measured.predicted = predicted;
  add({"step", in_ms(predicted), in_ms(measured.seconds), error_in_words(predicted, measured.seconds)});
  Result result;
  result.lines.push_back(fmt::format("predicted for {} beside measured, medians of {} steps, means over {} rank{}:", cluster_.name, measured.steps, ranks_, ranks_ == 1 ? "" : "s"));
  const std::string text = report::as_text(t);
  for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) result.lines.push_back("  " + text.substr(begin, end - begin));
  for (const std::string& note : p.notes) result.lines.push_back("  note: " + note);
  result.record = {config.resolved(), sim::in_ini_form(cluster_), demand->what(), engine->name(), static_cast<i64>(run.run.train.seed), 0, {std::move(p)}, std::move(measured)};
  return result;
}

}  // namespace pleiad::app
