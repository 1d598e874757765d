// pleiad simulate calibrate: describes the machine that it runs on, for predictions.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <set>

#include "pleiad/app/arguments.hpp"
#include "pleiad/app/cluster_file.hpp"
#include "pleiad/app/layer_rates.hpp"
#include "pleiad/app/reference_steps.hpp"
#include "pleiad/app/run_facts.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/bench/message_probes.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/asleep.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

namespace {

const char* const k_calibrate_usage =
    "usage: mpirun -n RANKS pleiad simulate calibrate --out CLUSTER.ini\n"
    "Measures the nodes that it runs on and writes them down for pleiad simulate (docs/simulate.md). Start it as training is started; two nodes are enough for\n"
    "a cluster of the same ones. Of more ranks on a node than it has cores, as many as cores measure rates, and then all what sharing them costs.";

struct CalibrationRequest {
  std::string out, name;
  i64 ranks_per_node = 0, memory_mib = 0;
  double seconds = 0;
  bool quick = false;
};

bool read_calibration_request(const comm::Communicator& world, const Arguments& arguments, CalibrationRequest& r) {
  namespace options = boost::program_options;
  options::options_description description("options");
  description.add_options()("out", options::value<std::string>(), "the description, a new file")("name", options::value<std::string>(), "of the cluster, for people (that of the first node)")(
      "ranks-per-node", options::value<i64>()->default_value(0), "what the file is to say; more than were measured share the cores. 0: as many as measured")(
      "seconds", options::value<double>()->default_value(30), "about how long to measure; three rounds at least")(
      "memory-mib", options::value<i64>()->default_value(64), "memory that streams, copies and random rows go through on each rank, MiB")(
      "quick", "tiny sizes, one round: for trying out, the numbers mean nothing");
  Values values;
  if (!parse_arguments(world, arguments, k_calibrate_usage, description, "", values)) return false;
  r.out = value_or<std::string>(values, "out", "");
  r.name = value_or<std::string>(values, "name", "");
  r.ranks_per_node = values["ranks-per-node"].as<i64>();
  r.seconds = values["seconds"].as<double>();
  r.memory_mib = values["memory-mib"].as<i64>();
  r.quick = values.count("quick") > 0;
  if (r.out.empty()) user_error("simulate calibrate: --out is missing; usage: pleiad simulate calibrate --out CLUSTER.ini");
  if (r.ranks_per_node < 0 || r.ranks_per_node > 1 << 20) user_error("--ranks-per-node {}: must be from 0 to {}", r.ranks_per_node, 1 << 20);
  if (!(r.seconds >= 0 && r.seconds <= 86400)) user_error("--seconds {}: must be from 0 to 86400", r.seconds);
  if (r.memory_mib < 1 || r.memory_mib > 1 << 16) user_error("--memory-mib {}: must be from 1 to {}", r.memory_mib, 1 << 16);
  require_new_file(world, "--out", r.out);
  return true;
}

/// Ranks and cores of each node.
struct NodeSizes {
  i64 ranks = 0, cores = 0;
  /// Those that measure rates, with a core of their own.
  i64 measuring() const { return std::min(ranks, cores); }
};

/// UserError on all ranks if they are not as many on each, or too few for what the file is to say.
NodeSizes sizes_of_nodes(const comm::Communicator& world, const exchange::NodeLayout& nodes, i64 wanted) {
  const i64 mine = static_cast<i64>(nodes.ranks_of(nodes.node_of(world.rank())).size());
  const i64 least = comm::min_over<i64>(world, mine), most = comm::max_over<i64>(world, mine);
  if (least != most) user_error("simulate calibrate: there are nodes with {} and with {} ranks; start as many on each", least, most);
  const NodeSizes sizes{most, comm::min_over<i64>(world, sysconf(_SC_NPROCESSORS_ONLN))};
  if (sizes.measuring() == 1 && wanted > 1) user_error("--ranks-per-node {}: with one rank and core on a node nobody measures messages within it; at least two are needed", wanted);
  return sizes;
}

/// One line: when, where, with what, and how busy the machine was before.
std::string origin_of(const comm::Communicator& world, const CalibrationRequest& request, i64 nodes, double load) {
  std::string hosts, cpu, started, mpi, products;
  for (const auto& [name, value] : environment_facts(world)) {
    if (name == "hosts") hosts = value;
    if (name == "cpu") cpu = value;
    if (name == "started") started = value;
    if (name == "mpi") mpi = value;
    if (name == "blas") products = value;
  }
  // Each host once, and not a thousand of them.
  std::set<std::string> names;
  std::string listed;
  for (std::size_t at = 0, end = 0; at < hosts.size(); at = end + 1) {
    end = std::min(hosts.find(' ', at), hosts.size());
    const std::string host = hosts.substr(at, end - at);
    if (names.insert(host).second && names.size() <= 4) listed += (listed.empty() ? "" : " ") + host;
  }
  const core::BuildInfo build = core::build_info();
  return fmt::format("measured {} by pleiad {} ({}){}, {} ranks on {} nodes ({}{}), load average before {:.2f}, {}, {}, {}", started, build.version, build.git_commit, request.quick ? " with --quick: the numbers mean nothing" : "",
                     world.size(), nodes, listed, names.size() > 4 ? " ..." : "", load, cpu, products, mpi);
}

void report_load(const comm::Communicator& world, double load, i64 ranks) {
  if (world.root() && load > 0.25 * static_cast<double>(ranks)) std::cout << fmt::format("load average {:.2f} before anything was measured: others use these cores, and the rates will be too low", load) << std::endl;
}

bench::Rounds rounds_of(const comm::Communicator& world, const CalibrationRequest& request) {
  bench::Rounds rounds{.seconds = request.seconds};
  if (request.quick) rounds.seconds = 0, rounds.least = rounds.most = 1, rounds.sample_seconds = 0;
  if (world.root() && person_watches()) {
    rounds.progress = [](double done, double left) { std::cout << fmt::format("\r\033[Kcalibrate: {:.0f} %, {} left", 100 * done, duration(left)) << std::flush; };
  }
  return rounds;
}

void write_cluster(const std::string& path, const sim::Cluster& cluster) {
  const std::string text = sim::in_ini_form(cluster);  // refuses what a description may not say before there is a file
  std::ofstream file(path);
  file << text;
  if (!file.flush()) user_error("--out {}: cannot be written ({})", path, std::strerror(errno));
  file.close();
  load_cluster(path);  // what a prediction would refuse is to show here
}

/// The machine as ranks with a core of their own find it, with lines for people. collective.
sim::Cluster describe(const comm::Communicator& world, const CalibrationRequest& request, i64 ranks, std::vector<std::string>& beside) {
  const exchange::NodeLayout nodes = exchange::nodes_of(world);
  double load = 0;
  if (getloadavg(&load, 1) != 1) load = 0;
  load = comm::max_over<double>(world, load);
  report_load(world, load, ranks);
  sim::Cluster cluster;
  cluster.name = request.name.empty() ? host_name() : request.name;
  cluster.origin = origin_of(world, request, nodes.nodes(), load);
  cluster.nodes = nodes.nodes();
  cluster.ranks_per_node = cluster.cores = ranks;
  cluster.node_memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  cluster.slowness.assign(static_cast<std::size_t>(cluster.nodes), 1.0);

  bench::CalibrationSizes sizes = request.quick ? bench::CalibrationSizes::quick() : bench::CalibrationSizes{};
  if (!request.quick) sizes.memory_bytes = request.memory_mib << 20;
  const bool bf16 = comm::min_over<i64>(world, ops::bf16_missing().empty() ? 1 : 0) == 1;
  bench::MachineProbes machine(sizes, bf16);
  bench::MessageProbes messages(world, nodes, sizes);
  std::vector<bench::Probe> probes;
  machine.add_to(probes);
  messages.add_to(probes);
  const bench::Rounds rounds = rounds_of(world, request);
  bench::time_in_rounds(world, rounds, probes);
  if (rounds.progress) std::cout << "\r\033[K" << std::flush;
  bench::set_machine_rates(sizes, probes, cluster);
  bench::set_network_rates(sizes, probes, cluster);
  for (const SmallLayer which : {SmallLayer::topk, SmallLayer::expert_choice, SmallLayer::product_keys}) {
    sim::StepModel layer;
    const LayerSeconds seconds = measure_layer(world, which, request.quick, request.quick ? 1 : 40, layer);
    set_layer_rates(layer, seconds, cluster);
  }
  std::vector<ReferenceStep> steps = time_reference_steps(world, Together::alone, request.quick);
  if (world.size() > 1) {
    for (ReferenceStep& s : time_reference_steps(world, Together::all, request.quick)) steps.push_back(std::move(s));
  }
  predict_steps(cluster, steps);
  set_phase_factors(steps, cluster);
  beside = bench::collectives_in_words(probes, cluster);
  for (std::string& line : references_in_words(steps)) beside.push_back(std::move(line));
  return cluster;
}

}  // namespace

int run_calibrate(const comm::Communicator& world, const Arguments& arguments) {
  CalibrationRequest request;
  if (!read_calibration_request(world, arguments, request)) return k_exit_ok;
  const exchange::NodeLayout nodes = exchange::nodes_of(world);
  const NodeSizes sizes = sizes_of_nodes(world, nodes, request.ranks_per_node);
  const bool measures = nodes.place(world.rank()) < sizes.measuring();
  sim::Cluster cluster;
  std::vector<std::string> beside;
  if (const comm::Communicator some = world.split(measures ? 0 : 1, world.rank()); measures) cluster = describe(some, request, sizes.measuring(), beside);
  comm::meet_asleep(world);
  const i64 said = request.ranks_per_node > 0 ? request.ranks_per_node : sizes.ranks;
  if (sizes.ranks > sizes.cores) {
    std::vector<ReferenceStep> shared = time_reference_steps(world, Together::all_with_tokens, request.quick);
    if (world.root()) {
      cluster.ranks_per_node = sizes.ranks;
      predict_steps(cluster, shared);
      set_sharing(shared, cluster);
      for (std::string& line : references_in_words(shared)) beside.push_back(std::move(line));
    }
  }
  comm::agree_on_root(world, [&] {
    cluster.ranks_per_node = said;
    cluster.cores = std::min(sizes.measuring(), said);
    write_cluster(request.out, cluster);
  });
  if (!world.root()) return k_exit_ok;
  for (const std::string& line : beside) std::cout << line << "\n";
  std::cout << fmt::format("{}: {} nodes of {} ranks, {} cores; {}", request.out, cluster.nodes, cluster.ranks_per_node, cluster.cores, cluster.origin) << std::endl;
  return k_exit_ok;
}

}  // namespace pleiad::app
