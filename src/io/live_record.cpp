#include "pleiad/io/live_record.hpp"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>

#include "pleiad/core/host.hpp"

namespace pleiad::io {

LossHistory::LossHistory(i64 steps, i64 most) : piece_(std::max<i64>(1, (steps + most - 1) / most)) {}

void LossHistory::add(i64 step, double loss) {
  if (!std::isfinite(loss)) return;
  if (step_.empty() || (step - 1) / piece_ != (step_.back() - 1) / piece_) {
    step_.push_back(step);
    sum_.push_back(0);
    count_.push_back(0);
  }
  step_.back() = step;
  sum_.back() += loss;
  ++count_.back();
}

void LossHistory::copy_to(std::vector<i64>& step, std::vector<double>& loss) const {
  step = step_;
  loss = sum_;
  for (std::size_t i = 0; i < loss.size(); ++i) loss[i] /= static_cast<double>(count_[i]);
}

std::vector<double> load_of_groups(std::span<const i64> tokens, i64 most) {
  const i64 experts = static_cast<i64>(tokens.size()), groups = std::min(experts, most);
  const double all = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), i64{0}));
  std::vector<double> load(static_cast<std::size_t>(groups), 0.0);
  for (i64 g = 0; all > 0 && g < groups; ++g) {
    const i64 begin = g * experts / groups, end = (g + 1) * experts / groups;
    const double mine = static_cast<double>(std::accumulate(tokens.begin() + begin, tokens.begin() + end, i64{0}));
    load[g] = mine / all * static_cast<double>(experts) / static_cast<double>(end - begin);
  }
  return load;
}

namespace {

double unix_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

}  // namespace

LiveRecord::LiveRecord(const std::string& run, const About& about, Complain complain)
    : run_(run), about_(about), complain_(std::move(complain)), history_(about.steps), phases_(k_phase_count, 0.0) {
  const char* job = std::getenv("SLURM_JOB_ID");
  status_.host = host_name();
  status_.job = job ? job : "";
  status_.process = getpid();
  status_.ranks = about.ranks;
  status_.first_step = status_.step = about.first_step;
  status_.steps = about.steps;
  status_.started = unix_time();
  status_.loss = std::numeric_limits<double>::quiet_NaN();
  status_.evaluated = about.before.evaluated;
  status_.evaluation_loss = about.before.evaluation_loss;
  status_.above_floor = about.before.above_floor;
  for (std::size_t i = 0; i < about.before.losses.size(); ++i) {
    history_.add(static_cast<i64>(i) + 1, about.before.losses[i]);
    status_.loss = about.before.losses[i];
  }
  about_.before = {};
  keep_from_before();
  publish();
}

/// What only a step can say stays as the part before has left it, until there is one.
void LiveRecord::keep_from_before() {
  if (about_.first_step == 0) return;
  try {
    const std::optional<LiveStatus> old = read_live_status(run_);
    if (!old || old->step != about_.first_step) return;
    status_.layers = old->layers;
    status_.learning_rate = old->learning_rate;
    status_.seconds_per_step = old->seconds_per_step;
    status_.tokens_per_second = old->tokens_per_second;
  } catch (const UserError&) {  // damaged: it is about to be replaced
  }
}

void LiveRecord::on_step(const train::StepRecord& r) {
  const bool first = r.step == about_.first_step + 1;
  status_.step = r.step;
  status_.loss = r.loss.task;
  status_.learning_rate = r.learning_rate;
  status_.seconds_per_step = first ? r.seconds : 0.95 * status_.seconds_per_step + 0.05 * r.seconds;
  status_.tokens_per_second = static_cast<double>(r.tokens) / status_.seconds_per_step;
  history_.add(r.step, r.loss.task);
  note_phases(r);
  const bool due = since_publish_.seconds() >= about_.every;
  // Cheap for a few experts. Of a million it is done only for a status that will be written.
  const bool few = r.layers.empty() || static_cast<i64>(r.layers.front()->expert_tokens.size()) <= train::k_most_listed_experts;
  if (few || first || due || r.step == about_.last_step) note_layers(r);
  if (due) publish();
}

void LiveRecord::note_phases(const train::StepRecord& r) {
  for (std::size_t i = 0; i < r.phase_seconds.size(); ++i) phases_[i % k_phase_count] += r.phase_seconds[i];
}

void LiveRecord::note_layers(const train::StepRecord& r) {
  status_.layers.resize(r.layers.size());
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    LiveStatus::Layer& to = status_.layers[l];
    const model::LayerStatistics& counts = *r.layers[l];
    const train::LayerFigures& figures = r.figures[l];
    to.block = about_.blocks[l];
    to.load = load_of_groups(counts.expert_tokens);
    to.imbalance = figures.load.imbalance;
    to.flops_imbalance = figures.load.flops_imbalance;
    to.entropy = counts.router_entropy;
    to.mean_k = figures.mean_k;
    to.dropped_share = counts.selected > 0 ? static_cast<double>(counts.dropped()) / static_cast<double>(counts.selected) : 0;
  }
}

void LiveRecord::on_evaluation(i64 step, const train::EvalReport& r) {
  status_.evaluated = step;
  status_.evaluation_loss = r.loss;
  status_.above_floor.reset();
  if (r.floor) status_.above_floor = r.loss - *r.floor;
  publish();
}

void LiveRecord::on_checkpoint(i64, double, i64) {
  // Writing one may take long: say that we are still there.
  if (since_publish_.seconds() >= about_.every) publish();
}

void LiveRecord::finish() {
  status_.state = status_.step >= status_.steps ? "finished" : "stopped";
  publish();
}

void LiveRecord::publish() {
  since_publish_.restart();
  status_.time = unix_time();
  history_.copy_to(status_.history_step, status_.history_loss);
  for (int p = 0; p < k_phase_count; ++p) {
    if (phases_[p] > 0) status_.phase_seconds[phase_name(static_cast<Phase>(p))] = phases_[p] / static_cast<double>(about_.ranks);
  }
  try {
    write_live_status(run_, status_);
  } catch (const std::exception& e) {
    if (!complained_) complain_(fmt::format("note: {}; the run goes on, but cannot be watched", e.what()));
    complained_ = true;
  }
}

}  // namespace pleiad::io
