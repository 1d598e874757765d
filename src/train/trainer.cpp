#include "pleiad/train/trainer.hpp"

#include <bit>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/whereabouts.hpp"

namespace pleiad::train {

TrainConfig TrainConfig::read(Spec& t, Spec& checkpoint) {
  const i64 big = i64{1} << 40;
  TrainConfig c;
  c.steps = t.integer("steps", 1000, 0, big, "number of updates");
  c.batch = t.integer("batch_sequences", 32, 1, big, "sequences in a global batch");
  c.lanes = t.integer("lanes", 8, 1, i64{1} << 30, "lanes of the global batch, a power of two (docs/numerics.md)");
  if (!std::has_single_bit(static_cast<std::uint64_t>(c.lanes))) user_error("train.lanes = {}: must be a power of two, such as 8", c.lanes);
  c.seed = static_cast<std::uint64_t>(t.integer("seed", 1, 0, std::numeric_limits<i64>::max(), "seed of everything random"));
  const bool masked = t.choice("objective", "causal", {"causal", "masked"}, "what a corpus is trained on: the next token, or masked tokens, from both sides; labelled texts and pairs have their own") == "masked";
  const double share = t.number("mask_share", 0.15, 0, 1, "masked: share of the tokens that is to be guessed; of these 80 % are masked, 10 % another token, 10 % left");
  if (share == 0) user_error("train.mask_share = 0: nothing would be guessed; must be above 0, such as 0.15");
  if (masked) c.mask_share = share;
  c.grad_clip = t.number("grad_clip", 1, 0, 1e30, "largest L2 norm of the gradient; 0: no clipping");
  c.eval_every = t.integer("eval_every", 200, 0, big, "steps between evaluations; 0: only at the end");
  c.eval_windows = t.integer("eval_windows", 0, 0, big, "windows of an evaluation; 0: the whole held-out part");
  c.sample_every = t.integer("sample_every", 0, 0, big, "steps between text samples; 0: only at the end");
  c.sample_tokens = t.integer("sample_tokens", 120, 0, 1 << 20, "tokens of a text sample; 0: none");
  c.adam = AdamConfig::read(t);
  c.schedule = Schedule::read(t, c.steps);
  const std::string bad = t.choice("bad_numbers", "stop", {"stop", "skip", "roll_back"}, "what a step does whose loss or gradient is NaN or infinite: end the run, pass over its batch, or go back to the newest checkpoint and on with later batches");
  c.bad_numbers = bad == "stop" ? BadNumberPolicy::stop : bad == "skip" ? BadNumberPolicy::skip : BadNumberPolicy::roll_back;
  c.bad_steps_most = t.integer("bad_steps_most", 10, 1, big, "skip and roll_back: so many such steps end the run all the same");
  c.checkpoint_every = checkpoint.integer("every", 200, 0, big, "steps between checkpoints; 0: only at the end");
  return c;
}

void TrainConfig::read_metrics(Spec& m) {
  const std::string which = m.choice("record_routing", "none", {"none", "sampled", "full"}, "which steps' routing goes to routing.h5, token by token");
  const i64 every = m.integer("record_every", 100, 1, i64{1} << 40, "sampled: steps between those that are recorded");
  record_every = which == "none" ? 0 : which == "full" ? 1 : every;
  const bool traced = m.choice("trace", "sampled", {"none", "sampled"}, "which steps go to trace.json, phase by phase, for a timeline of the ranks") == "sampled";
  const i64 apart = m.integer("trace_every", 100, 1, i64{1} << 40, "sampled: steps between those that are traced; the second of a part always is");
  trace_every = traced ? apart : 0;
}

Trainer::Trainer(const TrainConfig& config, const model::Model& model, BatchSource& source, const comm::ProcessGrid& grid,
                 std::vector<MetricSink*> sinks, CheckpointStore& store, SamplePlan samples)
    : config_(config),
      model_(&model),
      source_(source),
      grid_(grid),
      sinks_(std::move(sinks)),
      store_(store),
      samples_(std::move(samples)),
      lanes_(config.lanes, config.batch, model.config().seq_len, grid.world().size(), grid.world().rank()),
      gradients_(grid, lanes_, times_) {
  if (const model::MoeLayer* moe = model.first_moe()) facts_ = layer_facts(model.moe_config(), *moe);
}

void Trainer::balance(const PlacementConfig& config, RebuildModel rebuild) {
  if (config.when == PlacementConfig::When::never || model_->moe_layers().empty() || grid_.expert_group().size() == 1) return;
  balancer_.emplace(config, *model_, facts_, grid_);
  rebuild_ = std::move(rebuild);
}

PartEnd Trainer::run(TrainState& state, i64 last_step, const StopRequest& stop) {
  state.params.allocate_grads(lanes_.my_lanes().count);
  stop_ = stop;
  part_begin_ = state.step;
  times_.note_intervals(is_traced(state.step + 1));
  while (state.step < last_step && !stopping_) {
    if (!step(state)) return give_up(state);
    if (!after_step(state, state.step == last_step)) return PartEnd::bad_numbers;
    if (balancer_ && !stopping_ && balancer_->due(state.step, last_step - state.step)) rebalance(state, last_step - state.step);
  }
  comm::agree_with_root(grid_.world(), problem_);
  return state.step < last_step ? PartEnd::stopped : PartEnd::done;
}

bool Trainer::is_traced(i64 step) const {
  return config_.trace_every > 0 && (step == part_begin_ + 2 || step % config_.trace_every == 0);
}

/// False if it has numbers that are not finite and is not to be passed over: the state is then that before the step.
bool Trainer::step(TrainState& state) {
  step_begin_ = Stopwatch::now();
  whereabouts().begin_step(state.step + 1);
  state.validation_loss.reset();
  const Stopwatch watch;
  model::Batch batch;
  {
    PhaseTimes::Scope phase(times_, Phase::data);
    batch = source_.training(state.data_cursor(), lanes_);
  }
  model::StepContext context{grid_, lanes_, times_, config_.seed, state.step, true};
  context.listener = &gradients_;
  state.params.zero_grads();
  model_->forward(state.params, batch, context, trace_);
  gradients_.begin(state.params);
  model_->backward(state.params, batch, context, trace_);
  gradients_.finish();
  double norm = 0;
  {
    PhaseTimes::Scope phase(times_, Phase::grad_sync);
    norm = gradient_norm(state.params, grid_);
  }
  const double rate = config_.schedule.at(state.step);
  const bool good = is_good(norm);
  if (!good && !passes_over(state)) return false;
  if (good) {
    PhaseTimes::Scope phase(times_, Phase::optimizer);
    state.adam.step(state.params, rate, clip_scale(norm, config_.grad_clip), state.step + 1);
    changed_ = true;
    model_->update_buffers(state.params, context, trace_);
  }
  ++state.step;
  report(state, batch, rate, norm, watch.seconds());
  return true;
}

/// Whether the loss of the step and the norm of its gradient are finite.
bool Trainer::is_good(double norm) const { return std::isfinite(norm) && std::isfinite(trace_.report.total); }

/// What is done about a bad step that has been counted: as configured, until there are too many.
BadNumberPolicy Trainer::policy(const TrainState& state) const {
  return state.bad_steps < config_.bad_steps_most ? config_.bad_numbers : BadNumberPolicy::stop;
}

/// Says where numbers that are not finite came from, and whether the run goes on with the next batch as if this one had not been.
bool Trainer::passes_over(TrainState& state) {
  PhaseTimes::Scope phase(times_, Phase::metrics);
  bad_ = find_bad_numbers(state.params, *model_, trace_, grid_);
  bad_.step = state.step + 1;
  state.bad_steps += config_.bad_numbers != BadNumberPolicy::stop;
  std::string then;
  switch (policy(state)) {
    case BadNumberPolicy::skip: then = "no update is made, on with the next batch"; break;
    case BadNumberPolicy::roll_back: then = "back to the newest checkpoint, and on from there with the batches after this one"; break;
    case BadNumberPolicy::stop:
      then = config_.bad_numbers == BadNumberPolicy::stop ? "the run ends (train.bad_numbers = stop)"
                                                          : fmt::format("the run ends: bad step {} (train.bad_steps_most)", config_.bad_steps_most);
  }
  tell([&](MetricSink& sink) { sink.on_bad_numbers(bad_, then); });
  comm::agree_with_root(grid_.world(), problem_);
  return policy(state) == BadNumberPolicy::skip;
}

/// After a step that was not made: saves the state before it, which is good unless its weights are what is not finite.
PartEnd Trainer::give_up(TrainState& state) {
  if (policy(state) == BadNumberPolicy::roll_back) return PartEnd::roll_back;
  const BadNumbers of_step = bad_;
  save(state);
  bad_ = of_step;
  return PartEnd::bad_numbers;
}

void Trainer::report(const TrainState& state, const model::Batch& batch, double rate, double norm, double seconds) {
  const double step_end = Stopwatch::now();
  PhaseTimes::Scope phase(times_, Phase::metrics);
  StepRecord r;
  r.step = state.step;
  r.loss = trace_.report;
  r.learning_rate = rate;
  r.grad_norm = norm;
  r.skipped = !is_good(norm);
  r.seconds = seconds;
  r.tokens = lanes_.tokens();
  const std::vector<PhaseInterval> intervals = times_.take_intervals();
  gather_times(r);
  times_.note_intervals(is_traced(r.step + 1));
  if (is_traced(r.step)) r.trace = gather_trace(grid_.world(), intervals, {.begin = step_begin_, .end = step_end}, epoch_);
  report_layers(batch, r);
  if (balancer_) {
    std::vector<double> expert;
    for (std::size_t at = static_cast<std::size_t>(Phase::expert); at < r.phase_seconds.size(); at += k_phase_count) expert.push_back(r.phase_seconds[at]);
    balancer_->count(r.layers, expert);
  }
  tell([&](MetricSink& sink) { sink.on_step(r); });
}

/// The sinks live on rank 0: an error of one becomes that of all ranks when they next agree.
void Trainer::tell(const std::function<void(MetricSink&)>& what) {
  for (MetricSink* sink : sinks_) {
    try {
      what(*sink);
    } catch (const UserError& e) {
      if (problem_.empty()) problem_ = e.what();
    }
  }
}

/// What was measured since the last report: this step, and evaluation, saving and reporting before it. Whether a rank wants to stop,
/// and whether somebody could not write what was reported, travel along.
void Trainer::gather_times(StepRecord& r) {
  std::vector<double> mine = times_.all();
  mine.push_back(stop_ && stop_() ? 1.0 : 0.0);
  mine.push_back(problem_.empty() ? 0.0 : 1.0);
  times_.reset();
  const std::vector<double> all = comm::all_gather<double>(grid_.world(), mine);
  for (auto rank = all.begin(); rank != all.end(); rank += static_cast<std::ptrdiff_t>(mine.size())) {
    r.phase_seconds.insert(r.phase_seconds.end(), rank, rank + k_phase_count);
    stopping_ = stopping_ || rank[k_phase_count] > 0;
  }
  if (all[k_phase_count + 1] > 0) comm::agree_with_root(grid_.world(), problem_);
}

/// Bytes of the step from this rank to each rank of the world, all layers; in a dry run between all pretended ranks. Empty where there are
/// too many ranks.
std::vector<i64> Trainer::own_pairs() const {
  const i64 ranks = grid_.world().size(), first = grid_.world().rank() - grid_.expert_group().rank();  // of this rank's expert group
  if (ranks > exchange::k_most_paired_ranks) return {};
  std::vector<i64> sent(static_cast<std::size_t>(ranks), 0);
  for (const i64 block : model_->moe_layers()) {
    const std::vector<i64>& to = trace_.blocks[block].moe.plan.bytes_to;
    if (to.size() > sent.size()) sent.resize(to.size(), 0);
    for (std::size_t r = 0; r < to.size(); ++r) sent[static_cast<std::size_t>(first) + r] += to[r];
  }
  return sent;
}

/// What each rank did, in one message.
void Trainer::report_ranks(StepRecord& r) const {
  constexpr std::size_t each = 7;
  std::vector<i64> mine;
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    const model::BlockTrace& block = trace_.blocks[model_->moe_layers()[l]];
    const std::vector<i64>& experts = model_->blocks()[model_->moe_layers()[l]].moe()->expert_map().owned_by(grid_.expert_group().rank());
    const model::ShadowTrace& shadow = block.moe.shadow;
    const double flops = rows_flops(block.moe.plan.at_experts, experts, facts_) + rows_flops(shadow.plan.at_experts, shadow.borrowed, facts_);
    const exchange::Traffic& traffic = r.layers[l]->traffic;
    mine.insert(mine.end(), {traffic.bytes(), traffic.messages(), traffic.between_bytes, static_cast<i64>(shadow.borrowed.size()), shadow.bytes,
                             block.moe.plan.rows() + shadow.plan.rows(), std::bit_cast<i64>(flops)});
  }
  const std::vector<i64> pairs = own_pairs();
  mine.insert(mine.end(), pairs.begin(), pairs.end());
  const std::vector<i64> all = comm::all_gather<i64>(grid_.world(), mine);
  for (std::size_t l = 0; l < r.layers.size(); ++l) {
    for (std::size_t at = each * l; at < all.size(); at += mine.size()) {
      r.bytes.push_back(all[at]);
      r.messages.push_back(all[at + 1]);
      r.between_bytes.push_back(all[at + 2]);
      r.shadows.push_back(all[at + 3]);
      r.shadow_bytes.push_back(all[at + 4]);
      r.expert_rows.push_back(all[at + 5]);
      r.expert_flops.push_back(std::bit_cast<double>(all[at + 6]));
    }
  }
  const std::size_t counts = each * r.layers.size();
  for (std::size_t at = counts; at < all.size(); at += mine.size()) r.pair_bytes.insert(r.pair_bytes.end(), &all[at], &all[at] + pairs.size());
}

void Trainer::report_layers(const model::Batch& batch, StepRecord& r) const {
  r.layers = model_->statistics(trace_);
  r.flops_per_token = model_->fixed_flops_per_token();
  r.flops = step_flops(r.flops_per_token, facts_, r.layers, r.tokens);
  for (const auto* layer : r.layers) {
    if (sinks_.empty()) break;  // nobody looks at the figures here
    r.figures.push_back(layer_figures(*layer, facts_));
    r.flops_per_token += r.figures.back().expert_flops_per_token + r.figures.back().selection_flops_per_token;
  }
  if (!r.layers.empty()) report_ranks(r);
  if (config_.record_every == 0 || r.step % config_.record_every != 0 || r.layers.empty()) return;
  std::vector<const routing::Assignment*> routed;
  for (const i64 block : model_->moe_layers()) routed.push_back(&trace_.blocks[block].moe.router->assignment);
  r.routing = gather_routing(grid_.world(), batch.input, routed);
}

/// Looks at the load and, if it is worth it, moves experts with their moments.
void Trainer::rebalance(TrainState& state, i64 left) {
  LoadBalancer::Proposal proposal = balancer_->look(*model_, left);
  PlacementRecord& record = proposal.record;
  record.step = state.step;
  if (proposal.worth_it) {
    const Stopwatch watch;
    const Owners before = owners_of(*model_);
    ParamSet fresh;
    model_ = &rebuild_(proposal.owners, fresh);
    fresh.allocate();
    Adam moments(config_.adam, fresh);
    record.bytes = move_experts(state.params, state.adam, before, fresh, moments, proposal.owners, *model_, grid_.expert_group());
    state.params = std::move(fresh);
    state.adam = std::move(moments);
    state.params.allocate_grads(lanes_.my_lanes().count);
    record.moved = record.wanted;
    record.seconds = comm::max_over<double>(grid_.world(), watch.seconds());
    balancer_->note_move(record.bytes, record.seconds);
  }
  tell([&](MetricSink& sink) { sink.on_placement(record); });
}

std::vector<std::int32_t> Trainer::sample_text(const ParamSet& params) const {
  if (samples_.end < 0) return generate(*model_, params, samples_.prompt, {.tokens = config_.sample_tokens, .seed = config_.seed}, grid_);
  std::vector<std::int32_t> text = samples_.prompt;
  const DecodeOptions greedy{.max_tokens = config_.sample_tokens, .end = samples_.end};
  const auto targets = decode(*model_, params, {samples_.prompt}, greedy, grid_, config_.lanes);
  text.insert(text.end(), targets.front().begin(), targets.front().end());
  return text;
}

/// False if the state turns out to hold numbers that are not finite.
bool Trainer::after_step(TrainState& state, bool last) {
  const auto due = [&](i64 every) { return last || (every > 0 && state.step % every == 0); };
  if (due(config_.eval_every)) {
    const EvalReport report = evaluate(*model_, state.params, source_, grid_, config_.lanes, config_.batch, config_.eval_windows, times_);
    state.validation_loss = report.loss;
    tell([&](MetricSink& sink) { sink.on_evaluation(state.step, report); });
  }
  if (due(config_.sample_every) && config_.sample_tokens > 0 && !samples_.prompt.empty()) {
    const Sample sample{state.step, samples_.prompt, sample_text(state.params)};
    tell([&](MetricSink& sink) { sink.on_sample(sample); });
  }
  // Without an update since the last one it would push out a checkpoint that is another.
  const bool wanted = due(config_.checkpoint_every) && (changed_ || last);
  return !(wanted || stopping_) || save(state);
}

/// False, and nothing is written, if the state holds numbers that are not finite: an update can overflow though loss and gradient did not.
bool Trainer::save(const TrainState& state) {
  tell([](MetricSink& sink) { sink.flush(); });
  comm::agree_with_root(grid_.world(), problem_);  // what goes on from this checkpoint needs the record up to here
  PhaseTimes::Scope phase(times_, Phase::checkpoint);
  BadNumbers bad = find_bad_state(state.params, state.adam, grid_.world());
  if (!bad.where.empty()) {
    bad_ = bad;
    bad_.step = state.step;
    tell([&](MetricSink& sink) { sink.on_bad_numbers(bad_, "the state is not saved and the run ends"); });
    return false;
  }
  const Stopwatch watch;
  const i64 bytes = store_.save(state);
  changed_ = false;
  tell([&](MetricSink& sink) { sink.on_checkpoint(state.step, watch.seconds(), bytes); });
  return true;
}

}  // namespace pleiad::train
