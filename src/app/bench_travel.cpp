#include "pleiad/app/bench_travel.hpp"

#include "pleiad/bench/exchange.hpp"
#include "pleiad/bench/link.hpp"
#include "pleiad/bench/overlap.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/exchange/all_to_all.hpp"

namespace pleiad::app {

using bench::Record;

namespace {

/// A model with its layer, which refers to it.
struct LayerModel {
  LayerModel(const comm::Communicator& world, const Configured& c) : model(world, c.config) {
    model.setup.params.allocate();
    layer.emplace(*model.setup.model, model.setup.params, model.setup.grid, model.run.train.lanes, model.run.train.batch, model.run.train.seed);
  }
  const comm::Communicator& group() const { return model.setup.grid.expert_group(); }

  BenchModel model;
  std::optional<bench::LayerBench> layer;
};

/// `loops`: whether one rank that sends to itself, as exchange.kind = all_to_all makes it, will do.
void require_travel(const comm::Communicator& world, const std::string& bench, const std::vector<Configured>& cases, bool loops) {
  for (const Configured& c : cases) {
    const BenchModel model(world, c.config);
    model.require_experts();
    const i64 ranks = model.setup.grid.expert_group().size();
    if (ranks > 1 || (loops && world.size() == 1 && model.setup.exchange_config.kind == "all_to_all")) continue;
    user_error("bench {}: nothing travels on {}; start it with {}", bench, world.size() == 1 ? "one rank" : "ranks that have all experts each",
               world.size() == 1 ? "mpirun -n 2" : "fewer parallel.data_groups than ranks");
  }
}

Record record_of_travel(const Configured& c, const BenchModel& model, const std::string& what) {
  Record r = record_of(c, model, what);
  if (model.setup.parallel.shadow > 0) r.what += "; no experts are lent here, whatever parallel.shadow says";
  return r;
}

/// What the bytes of the busiest cable take at `mbit` million bits per second.
double nominal_seconds(const bench::LinkBench& link, double mbit) { return static_cast<double>(link.bytes()) / (mbit * 1e6 / 8); }

/// Inside one node the roof is MPI_Alltoallv.
void exchange_within(const comm::Communicator& world, const BenchRequest& request, const BenchResults& results, bench::ExchangeBench& exchange, Record& r) {
  r.times = bench::take_turns(world, results.sampling(r.name), exchange.forward(), exchange.raw(true), {exchange.raw(false)});
  r.subject = {"rows that go to other ranks, both ways", "byte/s", exchange.bytes()};
  r.roof = {"MPI_Alltoallv of the same counts, both ways", "byte/s", exchange.bytes()};
  const bench::Contest back = bench::take_turns(world, request.sampling, exchange.backward(), exchange.raw(true));
  r.figures.push_back({"backward_ratio", "1", "the same of a backward pass, which also brings the gradients of the weights", back.ratio(1, 1).median});
  r.figures.push_back({"ratio_to_others", "1", "over MPI_Alltoallv without what a rank has for itself", r.times.ratio_to(r.times.others.front(), 1, 1).median});
}

/// Between nodes the roof is what their network carries.
void exchange_between(const comm::Communicator& world, const BenchRequest& request, const BenchResults& results, LayerModel& m, bench::LinkBench& link,
                      bench::ExchangeBench& exchange, Record& r) {
  const exchange::Combine combine = m.model.setup.exchange_config.combine;
  const exchange::AllToAllExchanger each(m.group(), combine, link.nodes());
  bench::ExchangeBench each_with_each(*m.layer, each, combine);
  r.times = bench::take_turns(world, results.sampling(r.name), exchange.forward(), link.timed(), {exchange.raw(true), each_with_each.forward()});
  r.subject = {"rows on the busiest cable, each token once for each node", "byte/s", static_cast<double>(link.bytes())};
  r.roof = {"messages of just these bytes, one from node to node", "byte/s", static_cast<double>(link.bytes())};
  const bench::Contest back = bench::take_turns(world, request.sampling, exchange.backward(), link.timed());
  const i64 leaving = comm::sum_over<i64>(world, exchange.plan().traffic.between_bytes), least = comm::sum_over<i64>(world, m.group().rank() == 0 ? link.counted_bytes(m.model.setup.exchange_choice.chunks) : 0);
  r.figures.push_back({"backward_ratio", "1", "the same of a backward pass, which also brings the gradients of the weights", back.ratio(1, 1).median});
  r.figures.push_back({"over_alltoallv", "1", "rate over MPI_Alltoallv with the counts of this exchange", r.times.ratio_to(r.times.others[0], 1, 1).median});
  r.figures.push_back({"over_each_with_each", "1", "rate over exchange.kind = all_to_all, not in chunks", r.times.ratio_to(r.times.others[1], 1, 1).median});
  r.figures.push_back({"bytes_over_least", "1", "bytes that leave nodes, both passes, over those of each token once for each node", static_cast<double>(leaving) / static_cast<double>(least)});
  if (request.bandwidth > 0) {
    const double nominal = nominal_seconds(link, request.bandwidth);
    r.figures.push_back({"of_bandwidth", "1", "time over that of the bytes at --bandwidth", r.times.subject_seconds().median / nominal});
    r.figures.push_back({"of_bandwidth_least", "1", "the same, of the fastest sample", r.times.subject_seconds().least / nominal});
    r.figures.push_back({"roof_of_bandwidth", "1", "the same, of the messages that are the roof", r.times.roof_seconds().median / nominal});
  }
  if (m.model.setup.exchange_choice.kind == "hierarchical") {
    r.checks.push_back({"bytes that leave nodes beyond each token once for each node", std::abs(static_cast<double>(leaving - least)), 0});
  }
}

}  // namespace

int bench_exchange(const comm::Communicator& world, const BenchRequest& request, BenchResults& results) {
  const std::vector<Configured> cases = configured(world, request, bench::exchange_cases());
  require_travel(world, "exchange", cases, true);
  for (const Configured& c : cases) {
    LayerModel m(world, c);
    const exchange::Combine combine = m.model.setup.exchange_config.combine;
    bench::ExchangeBench exchange(*m.layer, *m.model.setup.exchanger, combine);
    bench::LinkBench link(m.group(), exchange.assignment(), m.layer->layer().expert_map(), combine, m.model.setup.model_config.width);
    Record r = record_of_travel(c, m.model, "rows to the experts and home again");
    r.shape = {{"tokens", m.layer->lanes().tokens()}, {"width", m.model.setup.model_config.width}, {"bytes", static_cast<i64>(exchange.bytes())}};
    r.checks = exchange.check();
    if (link.nodes().nodes() == 1) {
      if (request.bandwidth > 0) user_error("--bandwidth {}: all ranks are on one node, where nothing goes over a network; allowed: 0", request.bandwidth);
      exchange_within(world, request, results, exchange, r);
    } else {
      r.shape.insert(r.shape.end(), {{"nodes", link.nodes().nodes()}, {"bytes_on_busiest_cable", link.bytes()}});
      exchange_between(world, request, results, m, link, exchange, r);
    }
    results.add(std::move(r));
  }
  return results.exit_code();
}

namespace {

/// The slower of the exchange and the experts, each by itself; the exchange is the roof and the experts are the first of the others.
struct Slower {
  explicit Slower(const bench::Contest& times) : experts(bench::spread_of(times.others.front()).median > times.roof_seconds().median) {}
  bool experts;
  double ratio(const bench::Contest& times) const { return (experts ? times.ratio_to(times.others.front(), 1, 1) : times.ratio(1, 1)).median; }
};

bench::Contest overlap_turns(const comm::Communicator& world, const bench::Sampling& sampling, bench::OverlapBench& overlap, bench::Passes passes) {
  return bench::take_turns(world, sampling, overlap.together(passes), overlap.exchange(passes), {overlap.experts(passes)});
}

}  // namespace

int bench_overlap(const comm::Communicator& world, const BenchRequest& request, BenchResults& results) {
  using bench::Passes;
  const std::vector<Configured> cases = configured(world, request, bench::overlap_cases());
  require_travel(world, "overlap", cases, false);
  for (const Configured& c : cases) {
    LayerModel m(world, c);
    const exchange::AllToAllExchanger alone(m.group(), m.model.setup.exchange_config.combine, exchange::nodes_of(m.group()));
    bench::OverlapBench overlap(*m.layer, *m.model.setup.exchanger, alone);
    Record r = record_of_travel(c, m.model, "experts and their exchange, forward and backward");
    r.checks = overlap.check();
    r.times = overlap_turns(world, results.sampling(c.name), overlap, Passes::both);
    const bench::Spread exchange = r.times.roof_seconds(), experts = bench::spread_of(r.times.others.front());
    const Slower slower(r.times);
    if (slower.experts) std::swap(r.times.roof, r.times.others.front());
    const double tokens = static_cast<double>(m.layer->lanes().tokens());
    r.subject = {"tokens", "tokens/s", tokens};
    r.roof = {slower.experts ? "the experts by themselves, slower than the exchange" : "the exchange by itself, slower than the experts", "tokens/s", tokens};
    r.shape = {{"tokens", m.layer->lanes().tokens()}, {"width", m.model.setup.model_config.width}, {"hidden", m.model.setup.moe_config.expert_widths.front()},
               {"nodes", exchange::nodes_of(m.group()).nodes()}, {"chunks", m.model.setup.exchange_choice.chunks}};
    r.figures.push_back({"exchange_ms", "ms", "the exchange by itself, forward and backward", 1e3 * exchange.median});
    r.figures.push_back({"experts_ms", "ms", "the experts by themselves, forward and backward", 1e3 * experts.median});
    r.figures.push_back({"over_slower", "1", "time over that of the slower of the two", 1 / r.ratio().median});
    for (const auto& [passes, name] : {std::pair{Passes::forward, "forward"}, std::pair{Passes::backward, "backward"}}) {
      const bench::Contest times = overlap_turns(world, request.sampling, overlap, passes);
      r.figures.push_back({fmt::format("{}_over_slower", name), "1", fmt::format("the same, {} only", name), 1 / Slower(times).ratio(times)});
      r.figures.push_back({fmt::format("{}_exchange_ms", name), "ms", fmt::format("the exchange by itself, {} only", name), 1e3 * times.roof_seconds().median});
      r.figures.push_back({fmt::format("{}_experts_ms", name), "ms", fmt::format("the experts by themselves, {} only", name), 1e3 * bench::spread_of(times.others.front()).median});
    }
    results.add(std::move(r));
  }
  return results.exit_code();
}

}  // namespace pleiad::app
