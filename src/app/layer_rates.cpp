#include "pleiad/app/layer_rates.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/app/bench_model.hpp"
#include "pleiad/app/step_model.hpp"
#include "pleiad/bench/layer.hpp"
#include "pleiad/comm/collectives.hpp"

namespace pleiad::app {

namespace {

/// 64 rows for each expert: there what an expert takes beside its products is a good part of all.
Config layer_configuration(SmallLayer which, bool quick) {
  std::vector<std::string> all = {"model.width=128", "model.layers=1", "model.heads=4", "model.seq_len=64", "train.lanes=1", quick ? "train.batch_sequences=2" : "train.batch_sequences=32"};
  std::vector<std::string> of_layer = {"moe.router=topk", "moe.experts=64", "moe.expert_width=80", "moe.k=2"};
  if (which == SmallLayer::expert_choice) of_layer = {"moe.router=expert_choice", "moe.allow_noncausal=true", "moe.experts=16", "moe.expert_width=32"};
  if (which == SmallLayer::product_keys) of_layer = {"moe.preset=peer", "moe.sub_keys=32", "moe.heads=2", "moe.k=12"};
  all.insert(all.end(), of_layer.begin(), of_layer.end());
  return configuration({}, all);
}

}  // namespace

LayerSeconds measure_layer(const comm::Communicator& world, SmallLayer which, bool quick, i64 passes, sim::StepModel& model) {
  Config config = layer_configuration(which, quick);
  model = read_simulated_run(config, {}).model;
  const comm::Communicator alone = comm::Communicator::alone();
  BenchModel built(alone, layer_configuration(which, quick));
  built.setup.params.allocate();
  bench::LayerBench layer(*built.setup.model, built.setup.params, built.setup.grid, built.run.train.lanes, built.run.train.batch, built.run.train.seed);
  const bench::Timed timed = layer.timed();
  for (i64 i = 0; i < passes + 2; ++i) {
    comm::barrier(world);
    timed.prepare();
    timed.run();
  }
  LayerSeconds sums;
  for (const bench::Figure& f : layer.figures(passes)) {
    if (f.name == "router_ms") sums.router = f.value / 1e3;
    if (f.name == "plan_ms") sums.plan = f.value / 1e3;
    if (f.name == "expert_ms") sums.expert = f.value / 1e3;
  }
  const auto mean = [&](double seconds) { return comm::sum_over<double>(world, seconds) / static_cast<double>(world.size()); };
  return {mean(sums.router), mean(sums.plan), mean(sums.expert)};
}

void set_layer_rates(const sim::StepModel& m, const LayerSeconds& measured, sim::Cluster& c) {
  const bool keys = m.query > 0, claims = m.claims > 0;
  if (keys) c.compute.key_seconds = 0;
  else if (claims) c.compute.claim_seconds = 0;
  else c.compute.route_seconds = c.compute.call_seconds = 0;
  const sim::Share all{m.lanes, m.batch};
  const double tokens = static_cast<double>(m.batch * m.model.seq_len), assignments = tokens * m.choices;
  std::vector<i64> owned(static_cast<std::size_t>(m.experts()));
  std::iota(owned.begin(), owned.end(), i64{0});
  const std::vector<double> rows(owned.size(), assignments / static_cast<double>(m.experts()));
  sim::Coverage ignored;
  double router = 0, expert = 0, calls = 0;
  for (const sim::Pass pass : {sim::Pass::forward, sim::Pass::backward}) {
    const sim::Work experts = sim::expert_work(m, owned, rows, false, pass);
    calls += experts.calls;
    expert += sim::seconds_of(experts, c, ignored);
    router += sim::seconds_of(sim::router_work(m, all, pass), c, ignored);
  }
  const double left = std::max(0.0, measured.router - router);
  if (keys) c.compute.key_seconds = left / assignments;
  else if (claims) c.compute.claim_seconds = left / (tokens * m.claims);
  else c.compute.route_seconds = left / tokens;
  if (keys || claims) return;
  c.compute.plan_seconds = measured.plan / assignments;
  c.compute.call_seconds = std::max(0.0, measured.expert - expert) / calls;
}

}  // namespace pleiad::app
