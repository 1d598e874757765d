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
#include "pleiad/app/run_facts.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/bench/message_probes.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/build_info.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/host.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::app {

namespace {

const char* const k_calibrate_usage =
    "usage: mpirun -n RANKS pleiad simulate calibrate --out CLUSTER.ini\n"
    "Measures the nodes that it runs on and writes them down for pleiad simulate (docs/simulate.md). Start it as training is started, on every node as many\n"
    "ranks as cores are to be used; two nodes are enough for a cluster of the same ones.";

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

/// Ranks on each node. UserError on all ranks if they are not as many on each, or more than its cores, or too few for what the file is to say.
i64 ranks_of_a_node(const comm::Communicator& world, const exchange::NodeLayout& nodes, i64 wanted) {
  const i64 cores = sysconf(_SC_NPROCESSORS_ONLN), mine = static_cast<i64>(nodes.ranks_of(nodes.node_of(world.rank())).size());
  const i64 least = comm::min_over<i64>(world, mine), most = comm::max_over<i64>(world, mine), least_cores = comm::min_over<i64>(world, cores);
  if (least != most) user_error("simulate calibrate: there are nodes with {} and with {} ranks; start as many on each", least, most);
  if (most > least_cores) {
    user_error("simulate calibrate: {} ranks on a node with {} cores; start {} and say --ranks-per-node {}, rates are those of a rank with a core of its own", most, least_cores, least_cores, most);
  }
  if (most == 1 && wanted > 1) user_error("--ranks-per-node {}: with one rank on a node nobody measures messages within it; start at least two", wanted);
  return most;
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
  std::ofstream file(path);
  file << sim::in_ini_form(cluster);
  if (!file.flush()) user_error("--out {}: cannot be written ({})", path, std::strerror(errno));
  file.close();
  load_cluster(path);  // what a prediction would refuse is to show here
}

}  // namespace

int run_calibrate(const comm::Communicator& world, const Arguments& arguments) {
  CalibrationRequest request;
  if (!read_calibration_request(world, arguments, request)) return k_exit_ok;
  const exchange::NodeLayout nodes = exchange::nodes_of(world);
  const i64 ranks = ranks_of_a_node(world, nodes, request.ranks_per_node);
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
  bench::set_machine_rates(sizes, probes, cluster);
  bench::set_network_rates(sizes, probes, cluster);
  sim::StepModel layer;
  const LayerSeconds seconds = measure_layer(world, request.quick, request.quick ? 1 : 15, layer);
  set_layer_rates(layer, seconds, cluster);

  const std::vector<std::string> sums = bench::sums_in_words(probes, cluster);
  if (request.ranks_per_node > 0) cluster.ranks_per_node = request.ranks_per_node, cluster.cores = std::min(ranks, request.ranks_per_node);
  comm::agree_on_root(world, [&] { write_cluster(request.out, cluster); });
  if (!world.root()) return k_exit_ok;
  if (rounds.progress) std::cout << "\r\033[K";
  for (const std::string& line : sums) std::cout << line << "\n";
  std::cout << fmt::format("{}: {} nodes of {} ranks, {} cores; {}", request.out, cluster.nodes, cluster.ranks_per_node, cluster.cores, cluster.origin) << std::endl;
  return k_exit_ok;
}

}  // namespace pleiad::app
