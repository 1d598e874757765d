#include "pleiad/bench/step.hpp"

#include <algorithm>

#include "pleiad/bench/layer_check.hpp"
#include "pleiad/bench/step_check.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/random.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::bench {

namespace {

constexpr i64 k_steps_per_round = 3;  // the first one is not counted: it follows another kind of work

/// Nothing is kept: a benchmark has no use for checkpoints.
class NoStore : public train::CheckpointStore {
 public:
  i64 save(const train::TrainState&) override { return 0; }
};

}  // namespace

/// Random tokens in place of data, every step the same ones.
class StepBench::SameBatch : public train::BatchSource {
 public:
  SameBatch(const model::Model& model, std::uint64_t seed) : vocab_(model.config().vocab), draw_(seed, Purpose::bench, 20) {}

  model::Batch training(i64, const LaneLayout& lanes) override {
    products_at_start = ops::product_totals().seconds;
    return batch(lanes);
  }
  i64 evaluation_windows() const override { return 1; }
  model::Batch evaluation(i64, const LaneLayout& lanes, train::Truth& truth) override {
    truth = {};
    return batch(lanes);
  }
  std::vector<std::string> domains() const override { return {}; }

  double products_at_start = 0;  ///< seconds inside products when the step began

 private:
  model::Batch batch(const LaneLayout& lanes) const {
    model::Batch b;
    const auto token = [&](i64 at) { return static_cast<std::int32_t>(draw_.below(static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(vocab_))); };
    for (i64 t = lanes.first_token(); t < lanes.first_token() + lanes.my_tokens(); ++t) {
      b.input.push_back(token(t));
      b.target.push_back(token(t + 1));
    }
    return b;
  }

  i64 vocab_;
  Stream draw_;
};

/// Notes what the trainer reports. Rank 0 only.
class StepBench::Listener : public train::MetricSink {
 public:
  void on_step(const train::StepRecord& r) override {
    heard.push_back({r.seconds, r.flops, {}, {}, r.phase_seconds[static_cast<int>(Phase::metrics)], 0});
    std::vector<double>&phases = heard.back().phases, &least = heard.back().least;
    phases.assign(k_phase_count, 0.0);
    least.assign(r.phase_seconds.begin(), r.phase_seconds.begin() + k_phase_count);
    const std::size_t ranks = r.phase_seconds.size() / k_phase_count;
    for (std::size_t i = 0; i < r.phase_seconds.size(); ++i) {
      phases[i % k_phase_count] += r.phase_seconds[i] / static_cast<double>(ranks);
      least[i % k_phase_count] = std::min(least[i % k_phase_count], r.phase_seconds[i]);
    }
  }
  void on_evaluation(i64, const train::EvalReport&) override {}
  void on_sample(const train::Sample&) override {}
  void on_checkpoint(i64, double, i64) override {}

  std::vector<Step> heard;
};

StepBench::StepBench(const model::Model& model, ParamSet& params, const comm::ProcessGrid& grid, const train::TrainConfig& config,
                     std::vector<train::MetricSink*> sinks)
    : model_(model), params_(params), grid_(grid), config_(config), sinks_(std::move(sinks)),
      lanes_(config.lanes, config.batch, model.config().seq_len, grid.world().size(), grid.world().rank()) {
  params_.initialise(config.seed);
}

void StepBench::keep(const Listener& heard, const std::vector<double>& products) {
  for (std::size_t i = heard.heard.size() - k_steps_per_round + 1; i < heard.heard.size(); ++i) {
    steps_.push_back(heard.heard[i]);
    steps_.back().products = products[i % k_steps_per_round];
  }
}

Contest StepBench::run(const Sampling& sampling, const Timed& roof, const std::vector<Timed>& others) {
  const comm::Communicator& world = grid_.world();
  SameBatch source(model_, config_.seed);
  Listener listener;
  NoStore store;
  std::vector<train::MetricSink*> sinks = sinks_;
  if (world.root()) sinks.push_back(&listener);
  train::Adam adam(config_.adam, params_);
  train::TrainState state{params_, adam, 0};
  train::Trainer trainer(config_, model_, source, grid_, sinks, store, {});
  std::vector<double> products;  // of this rank, by step of the round
  const auto round = [&] {
    products.clear();
    const Stopwatch watch;
    // Asked once per step when its work is done.
    trainer.run(state, state.step + k_steps_per_round, [&] {
      products.push_back(ops::product_totals().seconds - source.products_at_start);
      return false;
    });
    for (double& p : products) p /= static_cast<double>(world.size());
    comm::all_reduce_sum<double>(world, products);
    return comm::max_over<double>(world, watch.seconds());
  };

  if (sampling.warmup > 0) round();
  const Contest contest = take_turns(world, sampling, [&] {
    SelfTimed t{0, round()};
    if (world.root()) {
      keep(listener, products);
      for (i64 s = 1; s < k_steps_per_round; ++s) t.seconds += (steps_.end() - s)->seconds / (k_steps_per_round - 1);
    }
    comm::broadcast<double>(world, std::span(&t.seconds, 1));
    return t;
  }, roof, others);
  return contest;
}

Check StepBench::check() { return check_gradient(model_, params_, grid_, lanes_, SameBatch(model_, config_.seed).training(0, lanes_), config_.seed); }

/// What the layers take to count their routing in a step, measured on the assignments of this batch: in the phase plan of each of them.
double StepBench::statistics_seconds() {
  const comm::Communicator& world = grid_.world();
  SameBatch source(model_, config_.seed);
  PhaseTimes times;
  const model::StepContext context{grid_, lanes_, times, config_.seed, 0, true};
  model::ModelTrace trace;
  model_.forward(params_, source.training(0, lanes_), context, trace);
  const bool rows = model_.moe_config().bank != routing::Bank::feed_forward;
  std::vector<double> seconds;
  for (i64 i = 0; i < 5; ++i) {
    seconds.push_back(0);
    std::vector<model::LayerStatistics*> counted;
    for (const i64 block : model_.moe_layers()) {
      const routing::RoutingContext routed{.world = world, .lanes = lanes_, .seed = config_.seed, .layer = block};
      const i64 bins = model::k_bins(model_.blocks()[block].moe()->expert_map().experts(), rows);
      model::MoeTrace& layer = trace.blocks[block].moe;
      counted.push_back(&layer.statistics);
      seconds.back() += time_once(world, {[&] { model::count_statistics(*layer.router, routed, bins, layer.statistics); }});
    }
    seconds.back() += time_once(world, {[&] { model::sum_statistics(world, counted); }});
  }
  return spread_of(seconds).median;
}

template <class Value>
double StepBench::median(Value value) const {
  std::vector<double> values;
  for (const Step& s : steps_) values.push_back(value(s));
  return spread_of(std::move(values)).median;
}

StepSeconds StepBench::seconds() const {
  StepSeconds all{median([](const Step& s) { return s.seconds; }), {}, {}};
  for (std::size_t p = 0; p < k_phase_count; ++p) {
    all.phases.push_back(median([p](const Step& s) { return s.phases[p]; }));
    all.least.push_back(median([p](const Step& s) { return s.least[p]; }));
  }
  return all;
}

sim::Recording StepBench::routing() {
  SameBatch source(model_, config_.seed);
  PhaseTimes times;
  const model::StepContext context{grid_, lanes_, times, config_.seed, 0, true};
  model::ModelTrace trace;
  model_.forward(params_, source.training(0, lanes_), context, trace);
  sim::Recording recorded{0, lanes_.seq_len(), lanes_.tokens() / lanes_.seq_len(), {}, "routing of the steps"};
  for (const i64 block : model_.moe_layers()) {
    const routing::Assignment& a = trace.blocks[static_cast<std::size_t>(block)].moe.router->assignment;
    std::vector<i64> counts;
    std::vector<std::int32_t> experts;
    for (i64 t = 0; t < a.tokens(); ++t) {
      const std::vector<std::int32_t> of_token = kept_experts(a, t);
      counts.push_back(static_cast<i64>(of_token.size()));
      experts.insert(experts.end(), of_token.begin(), of_token.end());
    }
    sim::Recording::Layer layer{{0}, comm::all_gather_v<std::int32_t>(grid_.world(), experts)};
    for (const i64 n : comm::all_gather_v<i64>(grid_.world(), counts)) layer.offset.push_back(layer.offset.back() + n);
    recorded.experts = a.experts;
    recorded.layers.push_back(std::move(layer));
  }
  return recorded;
}

std::vector<Figure> StepBench::figures() {
  const double statistics = statistics_seconds();
  if (steps_.empty()) return {};
  const StepSeconds of = seconds();
  const double seconds = of.step, metrics = median([](const Step& s) { return s.metrics; });
  std::vector<Figure> all = {{"tokens_per_second", "tokens/s", "whole batch, all ranks", static_cast<double>(tokens()) / seconds}};
  for (int p = 0; p < k_phase_count; ++p) {
    const Phase phase = static_cast<Phase>(p);
    if (phase == Phase::metrics || phase == Phase::evaluate || phase == Phase::checkpoint) continue;
    const double mean = of.phases[static_cast<std::size_t>(p)];
    if (mean > 0) all.push_back({fmt::format("{}_ms", phase_name(phase)), "ms", fmt::format("phase {} of a step, mean over the ranks", phase_name(phase)), 1e3 * mean});
  }
  all.push_back({"metrics_ms", "ms", "reporting a step, beside it, rank 0", 1e3 * metrics});
  all.push_back({"statistics_ms", "ms", "counting the routing, inside the phase plan", 1e3 * statistics});
  all.push_back({"products_share", "1", "share of a step inside matrix products, mean over the ranks", median([](const Step& s) { return s.products / s.seconds; })});
  all.push_back({"record_share", "1", "share of metrics and statistics in a step with its report", (metrics + statistics) / (seconds + metrics)});
  return all;
}

}  // namespace pleiad::bench
