#include "pleiad/app/simulation.hpp"

#include <algorithm>
#include <bit>

#include "pleiad/core/error.hpp"
#include "pleiad/io/recorded_routing.hpp"

namespace pleiad::app {

namespace {

constexpr i64 k_most_ranks = i64{1} << 20;
// Numbers that a replayed recording may take: profiles x places (sim/demand.hpp).
constexpr i64 k_most_replayed = i64{1} << 27;

/// As much of a recording as there is room for.
std::optional<sim::Recording> read_recording(const SimulationRequest& request, const sim::Cluster& cluster) {
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
std::unique_ptr<sim::Demand> make_demand(const SimulationRequest& request, std::optional<sim::Recording> recording, SimulatedRun& run) {
  if (!recording) return sim::make_up(sim::Skew::parse(request.skew.empty() ? "uniform" : request.skew, "--skew"), run.shape);
  const sim::StepModel& m = run.model;
  if (recording->experts != m.experts()) user_error("--routing {}: was recorded with {} experts, the configuration has {}", request.routing, recording->experts, m.experts());
  if (recording->seq_len != m.model.seq_len) user_error("--routing {}: was recorded with sequences of {} tokens, model.seq_len is {}", request.routing, recording->seq_len, m.model.seq_len);
  if (static_cast<i64>(recording->layers.size()) != m.moe_layers()) {
    run.notes.push_back(fmt::format("{} layers with experts were recorded and the model has {}: they are used in turn", recording->layers.size(), m.moe_layers()));
  }
  return sim::replay(*std::move(recording));
}

}  // namespace

void SimulationRequest::add_options(boost::program_options::options_description& description) {
  namespace options = boost::program_options;
  using Texts = std::vector<std::string>;
  description.add_options()("config", options::value<std::string>(), "configuration of training")("set", options::value<Texts>()->composing(), "section.key=value, overrides the configuration")(
      "cluster", options::value<std::string>(), "description of the cluster")("ranks", options::value<std::string>(), "numbers of ranks, comma-separated; those of the cluster file if not given")(
      "sequences-per-rank", options::value<i64>()->default_value(0), "a batch of so many sequences for each rank, and as many lanes as that takes; 0: as configured")(
      "skew", options::value<std::string>(), "made-up routing: uniform, zipf:EXPONENT, hot:SHARE, drift:EXPONENT,STEPS, domains:EXPONENT,COUNT (uniform)")(
      "routing", options::value<std::string>(), "recorded routing (routing.h5 of a run with metrics.record_routing) in place of made-up one")(
      "mean-k", options::value<double>()->default_value(0, "0"), "experts of a token where data decide (topp, threshold, damoe)")(
      "step", options::value<i64>()->default_value(0), "number of the step whose routing is made up")("engine", options::value<std::string>()->default_value("analytic"), "what predicts the network: analytic, simgrid");
}

SimulationRequest SimulationRequest::read(const Values& values, const std::string& command) {
  using Texts = std::vector<std::string>;
  SimulationRequest r;
  r.config = value_or<std::string>(values, "config", "");
  r.cluster = value_or<std::string>(values, "cluster", "");
  r.routing = value_or<std::string>(values, "routing", "");
  r.skew = value_or<std::string>(values, "skew", "");
  r.engine = values["engine"].as<std::string>();
  r.settings = value_or<Texts>(values, "set", {});
  r.per_rank = values["sequences-per-rank"].as<i64>();
  r.step = values["step"].as<i64>();
  r.mean_k = values["mean-k"].as<double>();
  if (r.config.empty() || r.cluster.empty()) user_error("{0}: --{1} is missing; usage: pleiad {0} --config MODEL.ini --cluster CLUSTER.ini", command, r.config.empty() ? "config" : "cluster");
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
  return r;
}

Simulation::Simulation(const SimulationRequest& request)
    : request_(request), config_(Config::load(comm::Communicator::alone(), request.config)), cluster_(load_cluster(request.cluster)), engine_(sim::make_engine(request.engine)) {
  config_.set_all(request_.settings);
  if (request_.ranks.empty()) request_.ranks = {cluster().ranks()};
  std::optional<sim::Recording> recording = read_recording(request_, cluster());
  recorded_ = recording ? recording->sequences : 0;
  known_ = {request_.mean_k, recording ? mean_k_of(*recording) : 0};
  run_ = read_simulated_run(config_, known_);
  demand_ = make_demand(request_, std::move(recording), run_);
}

sim::StepModel Simulation::model(i64 ranks) const {
  sim::StepModel m = run_.model;
  if (request_.per_rank > 0) {
    m.batch = request_.per_rank * ranks;
    m.lanes = static_cast<i64>(std::bit_ceil(static_cast<std::uint64_t>(std::max(m.lanes, ranks))));
  }
  return m;
}

std::string Simulation::resolved_with(const std::vector<std::string>& settings) const {
  Config config = Config::parse(config_.resolved(), request_.config);
  config.set_all(settings);
  read_simulated_run(config, known_);
  return config.resolved();
}

sim::Prediction Simulation::predict(const sim::StepModel& m, i64 ranks) const {
  const sim::Cluster machine = cluster().with_ranks(ranks);
  sim::Prediction p = sim::predict({m, machine, ranks, *demand_, *engine_, request_.step});
  p.notes.insert(p.notes.end(), run_.notes.begin(), run_.notes.end());
  if (recorded_ > 0 && recorded_ < m.batch) p.notes.push_back(fmt::format("{} sequences were recorded and the batch has {}: they are repeated", recorded_, m.batch));
  return p;
}

}  // namespace pleiad::app
