// pleiad simulate: what a training step would cost on a described cluster.
#include <algorithm>
#include <bit>
#include <cmath>
#include <iostream>
#include <numeric>
#include <optional>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/cluster_file.hpp"
#include "pleiad/app/step_model.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/recorded_routing.hpp"
#include "pleiad/io/simulation_record.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::app {

namespace {

constexpr i64 k_most_ranks = i64{1} << 20;
// Numbers that a replayed recording may take: profiles x places (sim/demand.hpp).
constexpr i64 k_most_replayed = i64{1} << 27;

const char* const k_usage =
    "usage: pleiad simulate --config MODEL.ini --cluster CLUSTER.ini [--ranks N,N...] [--skew KIND | --routing routing.h5] [--out F.h5]\n"
    "Predicts a training step on a described cluster (docs/simulate.md). One process; the model is not built.";

struct Request {
  std::string config, cluster, routing, skew, engine, out;
  std::vector<std::string> settings;
  std::vector<i64> ranks;
  i64 per_rank = 0, step = 0;
  double mean_k = 0;
};

bool read_request(const comm::Communicator& world, const Arguments& arguments, Request& r) {
  namespace options = boost::program_options;
  using Texts = std::vector<std::string>;
  options::options_description description("options");
  description.add_options()("config", options::value<std::string>(), "configuration of training")("set", options::value<Texts>()->composing(), "section.key=value, overrides the configuration")(
      "cluster", options::value<std::string>(), "description of the cluster")("ranks", options::value<std::string>(), "numbers of ranks, comma-separated; those of the cluster file if not given")(
      "sequences-per-rank", options::value<i64>()->default_value(0), "a batch of so many sequences for each rank, and as many lanes as that takes; 0: as configured")(
      "skew", options::value<std::string>(), "made-up routing: uniform, zipf:EXPONENT, hot:SHARE, drift:EXPONENT,STEPS, domains:EXPONENT,COUNT (uniform)")(
      "routing", options::value<std::string>(), "recorded routing (routing.h5 of a run with metrics.record_routing) in place of made-up one")(
      "mean-k", options::value<double>()->default_value(0, "0"), "experts of a token where data decide (topp, threshold, damoe)")(
      "step", options::value<i64>()->default_value(0), "number of the step whose routing is made up")("engine", options::value<std::string>()->default_value("analytic"), "what predicts the network: analytic")(
      "out", options::value<std::string>(), "also write the prediction to this HDF5 file");
  Values values;
  if (!parse_arguments(world, arguments, k_usage, description, "", values)) return false;
  r.config = value_or<std::string>(values, "config", "");
  r.cluster = value_or<std::string>(values, "cluster", "");
  r.routing = value_or<std::string>(values, "routing", "");
  r.skew = value_or<std::string>(values, "skew", "");
  r.engine = values["engine"].as<std::string>();
  r.out = value_or<std::string>(values, "out", "");
  r.settings = value_or<Texts>(values, "set", {});
  r.per_rank = values["sequences-per-rank"].as<i64>();
  r.step = values["step"].as<i64>();
  r.mean_k = values["mean-k"].as<double>();
  if (r.config.empty() || r.cluster.empty()) user_error("simulate: --{} is missing; usage: pleiad simulate --config MODEL.ini --cluster CLUSTER.ini", r.config.empty() ? "config" : "cluster");
  if (r.mean_k > 0 && !r.routing.empty()) user_error("--mean-k {}: does not go with --routing, which says how many experts tokens have", r.mean_k);
  if (!r.skew.empty() && !r.routing.empty()) user_error("--skew {}: does not go with --routing, which is replayed as it was", r.skew);
  if (r.per_rank < 0 || r.per_rank > k_most_ranks) user_error("--sequences-per-rank {}: must be from 0 to {}", r.per_rank, k_most_ranks);
  if (r.step < 0) user_error("--step {}: must be at least 0", r.step);
  if (!(r.mean_k >= 0 && r.mean_k < 1e9)) user_error("--mean-k {}: must be at least 0", r.mean_k);
  if (const std::string ranks = value_or<std::string>(values, "ranks", ""); values.count("ranks")) {
    Spec list("--ranks", {{"numbers", ranks}});
    try {
      r.ranks = list.integers("numbers", {}, 1, k_most_ranks, "");
    } catch (const UserError&) {
    }
    std::vector<i64> sorted = r.ranks;
    std::ranges::sort(sorted);
    if (r.ranks.empty() || std::ranges::adjacent_find(sorted) != sorted.end()) user_error("--ranks {}: must be different whole numbers from 1 to {}, such as 64,256,1024", ranks, k_most_ranks);
  }
  if (!r.out.empty()) require_new_file(world, "--out", r.out);
  return true;
}

/// As much of a recording as there is room for.
std::optional<sim::Recording> read_recording(const Request& request, const sim::Cluster& cluster) {
  if (request.routing.empty()) return std::nullopt;
  const i64 most_ranks = std::ranges::max(request.ranks), places = most_ranks + 2 * ((most_ranks + cluster.ranks_per_node - 1) / cluster.ranks_per_node);
  return io::read_recorded_routing(request.routing, std::max<i64>(1, k_most_replayed / places));
}

double mean_k_of(const sim::Recording& recording) {
  double entries = 0;
  for (const auto& layer : recording.layers) entries += static_cast<double>(layer.expert.size());
  return entries / static_cast<double>(recording.sequences * recording.seq_len) / static_cast<double>(recording.layers.size());
}

/// What the run's tokens ask for.
std::unique_ptr<sim::Demand> make_demand(const Request& request, std::optional<sim::Recording> recording, SimulatedRun& run) {
  if (!recording) return sim::make_up(sim::Skew::parse(request.skew.empty() ? "uniform" : request.skew, "--skew"), run.shape);
  const sim::StepModel& m = run.model;
  if (recording->experts != m.experts()) user_error("--routing {}: was recorded with {} experts, the configuration has {}", request.routing, recording->experts, m.experts());
  if (recording->seq_len != m.model.seq_len) user_error("--routing {}: was recorded with sequences of {} tokens, model.seq_len is {}", request.routing, recording->seq_len, m.model.seq_len);
  if (static_cast<i64>(recording->layers.size()) != m.moe_layers()) {
    run.notes.push_back(fmt::format("{} layers with experts were recorded and the model has {}: they are used in turn", recording->layers.size(), m.moe_layers()));
  }
  return sim::replay(*std::move(recording));
}

std::string bytes_in_words(double bytes) {
  for (const char* unit : {"B", "KiB", "MiB", "GiB"}) {
    if (bytes < 1024 || std::string(unit) == "GiB") return fmt::format("{:.4g} {}", bytes, unit);
    bytes /= 1024;
  }
  return "";
}

double most_memory(const sim::Prediction& p) { return std::ranges::max(p.memory, {}, &sim::RankMemory::total).total(); }
double mean(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()); }

void print_summary(const std::vector<sim::Prediction>& all) {
  report::Table t;
  for (const char* title : {"ranks", "nodes", "step ms", "tokens/s", "efficiency", "computing", "travelling", "waiting", "MiB per rank"}) t.columns.push_back({title, ""});
  t.columns.push_back({"exchange", "", true});
  for (const sim::Prediction& p : all) {
    const double wait = mean(p.wait_seconds) / p.seconds, compute = p.ideal_seconds / p.seconds;
    const std::vector<std::string> cells = {fmt::format("{}", p.ranks),
                                            fmt::format("{}", p.nodes),
                                            fmt::format("{:.3f}", 1e3 * p.seconds),
                                            fmt::format("{:.0f}", p.tokens_per_second()),
                                            fmt::format("{:.3f}", p.efficiency()),
                                            fmt::format("{:.1f} %", 100 * compute),
                                            fmt::format("{:.1f} %", 100 * std::max(0.0, 1 - compute - wait)),
                                            fmt::format("{:.1f} %", 100 * wait),
                                            fmt::format("{:.1f}", most_memory(p) / (1 << 20)),
                                            p.exchange};
    t.rows.emplace_back();
    for (const std::string& c : cells) t.rows.back().push_back({c, c});
  }
  std::cout << report::as_text(t);
}

/// Phases of one prediction over its ranks, its path, links, memory.
void print_details(const sim::Prediction& p) {
  std::cout << fmt::format("\n{} ranks, milliseconds by phase, waits for others included\n", p.ranks);
  report::Table t;
  t.columns.push_back({"phase", "", true});
  for (const char* title : {"least", "mean", "most", "of rank", "critical path"}) t.columns.push_back({title, ""});
  for (int phase = 0; phase < k_phase_count; ++phase) {
    i64 slowest = 0;
    double least = HUGE_VAL, most = 0;
    for (i64 r = 0; r < p.ranks; ++r) {
      const double s = p.phase_seconds[static_cast<std::size_t>(r * k_phase_count + phase)];
      least = std::min(least, s);
      if (s > most) most = s, slowest = r;
    }
    if (most == 0) continue;
    const std::vector<std::string> cells = {phase_name(static_cast<Phase>(phase)), fmt::format("{:.3f}", 1e3 * least), fmt::format("{:.3f}", 1e3 * p.mean_of(static_cast<Phase>(phase))),
                                            fmt::format("{:.3f}", 1e3 * most), fmt::format("{}", slowest), fmt::format("{:.3f}", 1e3 * p.path_seconds[static_cast<std::size_t>(phase)])};
    t.rows.emplace_back();
    for (const std::string& c : cells) t.rows.back().push_back({c, c});
  }
  std::cout << report::as_text(t) << "critical path: " << p.path_in_words() << "\n";
  for (std::size_t i = 0; i < std::min<std::size_t>(3, p.links.size()); ++i) {
    std::cout << fmt::format("busiest link: {}, {} in a step, {:.3f} ms\n", p.links[i].name, bytes_in_words(p.links[i].bytes), 1e3 * p.links[i].seconds);
  }
  const sim::RankMemory m = std::ranges::max(p.memory, {}, &sim::RankMemory::total);
  std::cout << fmt::format("memory of the fullest rank: weights {}, gradients {}, moments {}, activations {}, rows of others {}\n", bytes_in_words(m.weights), bytes_in_words(m.gradients),
                           bytes_in_words(m.moments), bytes_in_words(m.activations), bytes_in_words(m.exchange));
}

}  // namespace

int run_simulate(const comm::Communicator& world, const Arguments& arguments) {
  Request request;
  if (!read_request(world, arguments, request)) return k_exit_ok;
  Config config = Config::load(comm::Communicator::alone(), request.config);
  config.set_all(request.settings);
  const ClusterFile cluster = load_cluster(request.cluster);
  const std::unique_ptr<sim::Engine> engine = sim::make_engine(request.engine);
  if (request.ranks.empty()) request.ranks = {cluster.cluster.ranks()};
  std::optional<sim::Recording> recording = read_recording(request, cluster.cluster);
  const i64 recorded = recording ? recording->sequences : 0;
  SimulatedRun run = read_simulated_run(config, {request.mean_k, recording ? mean_k_of(*recording) : 0});
  const std::unique_ptr<sim::Demand> demand = make_demand(request, std::move(recording), run);
  io::SimulationRecord record{config.resolved(), sim::in_ini_form(cluster.cluster), demand->what(), engine->name(), static_cast<i64>(run.run.train.seed), request.step, {}};
  for (const i64 ranks : request.ranks) {
    sim::StepModel model = run.model;
    if (request.per_rank > 0) {
      model.batch = request.per_rank * ranks;
      model.lanes = static_cast<i64>(std::bit_ceil(static_cast<std::uint64_t>(std::max(model.lanes, ranks))));
    }
    const sim::Cluster machine = cluster.cluster.with_ranks(ranks);
    record.predictions.push_back(sim::predict({model, machine, ranks, *demand, *engine, request.step}));
    std::vector<std::string>& notes = record.predictions.back().notes;
    notes.insert(notes.end(), run.notes.begin(), run.notes.end());
    if (recorded > 0 && recorded < model.batch) notes.push_back(fmt::format("{} sequences were recorded and the batch has {}: they are repeated", recorded, model.batch));
  }
  std::cout << fmt::format("predicted, not measured: {} on {}{}; routing {}\n", request.config, cluster.cluster.name, cluster.cluster.origin.empty() ? "" : " (" + cluster.cluster.origin + ")", demand->what());
  print_summary(record.predictions);
  print_details(record.predictions.back());
  for (const sim::Prediction& p : record.predictions) {
    for (const std::string& note : p.notes) std::cout << fmt::format("note, {} ranks: {}\n", p.ranks, note);
  }
  if (!request.out.empty()) io::write_simulation(request.out, record);
  return k_exit_ok;
}

}  // namespace pleiad::app
