#include "pleiad/app/reference_steps.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "pleiad/app/bench_model.hpp"
#include "pleiad/app/step_model.hpp"
#include "pleiad/bench/step.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/sim/prediction.hpp"

namespace pleiad::app {

namespace {

constexpr double k_worth_saying = 0.02;  // of a step

struct Reference {
  const char* name;
  std::vector<std::string> settings;
};

/// Whole exchanges, so that waits for rows are not those of experts. Few rows for each expert and many, narrow experts and wide ones, plain and gated, equal and unequal, with a capacity, chosen by experts, single
/// neurons, none; lanes of 96 to 512 rows.
std::vector<Reference> reference_models(bool quick) {
  if (quick) return {{"tiny", {"model.width=16", "model.layers=1", "model.heads=2", "model.seq_len=8", "train.batch_sequences=4", "train.lanes=2", "moe.experts=4", "moe.expert_width=8"}}};
  const auto model = [](i64 width, i64 heads, i64 length, i64 sequences, i64 lanes, std::vector<std::string> moe) {
    std::vector<std::string> all = {fmt::format("model.width={}", width), fmt::format("model.heads={}", heads), fmt::format("model.seq_len={}", length), "model.layers=2", "exchange.chunks=1",
                                    fmt::format("train.batch_sequences={}", sequences), fmt::format("train.lanes={}", lanes)};
    all.insert(all.end(), moe.begin(), moe.end());
    return all;
  };
  return {
      {"few rows", model(112, 4, 48, 16, 8, {"moe.router=topk", "moe.k=1", "moe.experts=24", "moe.expert_width=80"})},
      {"many rows", model(144, 6, 80, 16, 4, {"moe.router=hash", "moe.experts=6", "moe.expert_width=288"})},
      {"narrow", model(144, 4, 96, 8, 4, {"moe.router=topk", "moe.k=3", "moe.experts=48", "moe.expert_width=32"})},
      {"gated", model(208, 4, 80, 16, 4, {"moe.router=topk", "moe.k=2", "moe.experts=10", "moe.expert_width=224", "moe.activation=swiglu", "moe.balance_loss=0.01"})},
      {"wide", model(320, 5, 64, 16, 8, {"moe.router=topk", "moe.k=1", "moe.experts=4", "moe.expert_width=640"})},
      {"unequal", model(176, 4, 48, 16, 2, {"moe.router=topk", "moe.k=2", "moe.experts=6", "moe.expert_widths=40,40,88,88,184,368"})},
      {"capacity", model(112, 4, 96, 8, 4, {"moe.router=topk", "moe.k=2", "moe.experts=20", "moe.expert_width=72", "moe.capacity_factor=1.5"})},
      {"expert_choice", model(176, 4, 48, 16, 4, {"moe.router=expert_choice", "moe.allow_noncausal=true", "moe.experts=12", "moe.expert_width=136"})},
      {"peer", model(112, 4, 80, 8, 2, {"moe.preset=peer", "moe.sub_keys=48", "moe.heads=3", "moe.k=10"})},
      {"dense", model(224, 4, 64, 16, 2, {"moe.layers=none"})},
      {"dense, long", model(80, 2, 160, 8, 4, {"moe.layers=none"})},
  };
}

/// A model on some ranks, and its steps.
struct Timed {
  Timed(const comm::Communicator& ranks, const Reference& reference)
      : name(reference.name), model(ranks, configuration({}, reference.settings)), step((model.setup.params.allocate(), *model.setup.model), model.setup.params, model.setup.grid, model.run.train, {}) {
    model.run.train.trace_every = 0;
  }
  std::string name;
  BenchModel model;
  bench::StepBench step;
};

/// With a lane and a sequence for each rank at least.
Reference for_ranks(Reference r, i64 ranks) {
  Config config = configuration({}, r.settings);
  const RunOptions run = read_simulated_run(config, {}).run;
  r.settings.push_back(fmt::format("train.lanes={}", std::bit_ceil(static_cast<std::uint64_t>(std::max(run.train.lanes, ranks)))));
  r.settings.push_back(fmt::format("train.batch_sequences={}", std::max(run.train.batch, ranks)));
  return r;
}

/// As much as a cluster file may say: of the tiny steps of --quick a phase may take any time.
double believable(double factor) { return std::clamp(factor, 1e-3, 1e3); }

std::vector<double> least_of_ranks(const sim::Prediction& p) {
  std::vector<double> least(p.phase_seconds.begin(), p.phase_seconds.begin() + k_phase_count);
  for (std::size_t at = 0; at < p.phase_seconds.size(); ++at) least[at % k_phase_count] = std::min(least[at % k_phase_count], p.phase_seconds[at]);
  return least;
}

}  // namespace

// In rounds, so that a disturbance spoils one sample of many models and not all samples of one.
std::vector<ReferenceStep> time_reference_steps(const comm::Communicator& world, Together how, bool quick) {
  const i64 rounds = quick ? 1 : 8;
  const comm::Communicator alone = comm::Communicator::alone(), &ranks = how == Together::alone ? alone : world;
  std::vector<std::unique_ptr<Timed>> all;
  std::vector<Reference> models = reference_models(quick);
  for (Reference& r : models) {
    if (how == Together::all_with_tokens) r = for_ranks(std::move(r), world.size());
    all.push_back(std::make_unique<Timed>(ranks, r));
  }
  for (i64 i = 0; i < rounds; ++i) {
    for (const auto& t : all) {
      comm::barrier(world);
      t->step.run({.warmup = i == 0 ? 1 : 0, .repeats = 1}, {[] {}}, {});
    }
  }
  const double groups = static_cast<double>(world.size() / ranks.size());
  std::vector<ReferenceStep> steps;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Config config = configuration({}, models[i].settings);
    const SimulatedRun run = read_simulated_run(config, {});
    ReferenceStep s{all[i]->name, ranks.size(), 0, 0, std::vector<double>(k_phase_count), std::vector<double>(k_phase_count), run.model, {}};
    if (run.model.moe_layers() > 0) s.demand = sim::replay(all[i]->step.routing());
    else s.demand = sim::make_up({}, run.shape);
    if (ranks.root()) {
      const bench::StepSeconds seconds = all[i]->step.seconds();
      s.measured = seconds.step / groups;
      for (std::size_t p = 0; p < k_phase_count; ++p) s.measured_phases[p] = seconds.least[p] / groups;
    }
    s.measured = comm::sum_over<double>(world, s.measured);
    comm::all_reduce_sum<double>(world, s.measured_phases);
    steps.push_back(std::move(s));
  }
  return steps;
}

void predict_steps(const sim::Cluster& cluster, std::vector<ReferenceStep>& steps) {
  const std::unique_ptr<sim::Engine> engine = sim::make_engine("analytic");
  for (ReferenceStep& s : steps) {
    const sim::Prediction p = sim::predict({s.model, cluster.with_ranks(s.ranks), s.ranks, *s.demand, *engine, 0});
    s.predicted = p.seconds;
    s.predicted_phases = least_of_ranks(p);
  }
}

void set_sharing(const std::vector<ReferenceStep>& steps, sim::Cluster& cluster) {
  std::vector<double> ratios;
  for (const ReferenceStep& s : steps) ratios.push_back(s.measured / s.predicted);
  const double doublings = std::log2(static_cast<double>(cluster.ranks_per_node) / static_cast<double>(cluster.cores));
  cluster.sharing = believable(std::pow(bench::spread_of(std::move(ratios)).median, 1 / doublings));
}

void set_phase_factors(const std::vector<ReferenceStep>& steps, sim::Cluster& cluster) {
  constexpr Phase k_between_ranks[] = {Phase::plan, Phase::exchange, Phase::grad_sync};
  const bool several = std::ranges::any_of(steps, [](const ReferenceStep& s) { return s.ranks > 1; });
  const auto is_between = [&](Phase phase) { return std::ranges::find(k_between_ranks, phase) != std::end(k_between_ranks); };
  const auto set = [&](Phase phase, bool together) {
    const std::size_t p = static_cast<std::size_t>(phase), expert = static_cast<std::size_t>(Phase::expert);
    std::vector<std::pair<double, double>> ratios;  // and the predicted share of the step
    double all = 0;
    for (const ReferenceStep& s : steps) {
      if ((s.ranks > 1) != together || s.predicted_phases[p] <= 0) continue;
      // Experts begin with the rows that are there, and wait for the others.
      const double waited = phase == Phase::exchange ? s.measured_phases[expert] - cluster.factor(Phase::expert) * s.predicted_phases[expert] : 0, took = s.measured_phases[p] + waited;
      if (took <= 0) continue;
      ratios.emplace_back(took / s.predicted_phases[p], s.predicted_phases[p] / s.measured);
      all += ratios.back().second;
    }
    std::ranges::sort(ratios);
    double below = 0;
    for (const auto& [ratio, share] : ratios) {
      cluster.phases[p] = believable(ratio);
      if ((below += share) >= all / 2) break;
    }
  };
  for (const Phase phase : sim::k_predicted_phases) {
    if (!is_between(phase)) set(phase, false);
  }
  for (const Phase phase : k_between_ranks) set(phase, several);
}

std::vector<std::string> references_in_words(const std::vector<ReferenceStep>& steps) {
  std::vector<std::string> lines;
  for (const ReferenceStep& s : steps) {
    std::string phases;
    for (const Phase phase : sim::k_predicted_phases) {
      const std::size_t p = static_cast<std::size_t>(phase);
      if (s.predicted_phases[p] > 0 && s.measured_phases[p] > k_worth_saying * s.measured) phases += fmt::format(", {} {:.2f}", phase_name(phase), s.measured_phases[p] / s.predicted_phases[p]);
    }
    lines.push_back(fmt::format("step of model {} on {} rank{}: measured {:.2f} ms, by the rates {:.2f} ms; measured over that: {:.2f}{}", s.name, s.ranks, s.ranks == 1 ? "" : "s", 1e3 * s.measured, 1e3 * s.predicted,
                                s.measured / s.predicted, phases));
  }
  return lines;
}

}  // namespace pleiad::app
