#include "pleiad/sim/cluster.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/core/error.hpp"
#include "pleiad/core/text.hpp"

namespace pleiad::sim {

namespace {

constexpr i64 k_most_nodes = i64{1} << 20, k_most_ranks = i64{1} << 20;
constexpr double k_most = 1e12, k_giga = 1e9, k_micro = 1e-6, k_nano = 1e-9, k_gbit = 1e9 / 8, k_gib = 1024.0 * 1024 * 1024;
const std::vector<std::string> k_topologies = {"switch", "fat_tree", "dragonfly", "torus"};

/// A number that nobody can guess.
double required(Spec& s, const std::string& key, double low, double high, std::string_view doc) {
  if (!s.has(key)) user_error("{}.{} is missing: {}", s.section(), key, doc);
  return s.number(key, 0, low, high, doc);
}

i64 required_count(Spec& s, const std::string& key, i64 high, std::string_view doc) {
  if (!s.has(key)) user_error("{}.{} is missing: {}", s.section(), key, doc);
  return s.integer(key, 1, 1, high, doc);
}

std::vector<double> axis(Spec& s, const std::string& key, std::string_view doc) {
  if (!s.has(key)) user_error("{}.{} is missing: {}", s.section(), key, doc);
  std::vector<double> points = s.numbers(key, {}, 1, k_most, doc);
  const bool ascends = std::ranges::adjacent_find(points, std::greater_equal<>()) == points.end();
  if (points.empty() || !ascends) user_error("{}.{} = {}: must be a list of ascending numbers ({})", s.section(), key, s.given().at(key), doc);
  return points;
}

RateTable table(Spec& s, const std::string& key, const std::vector<double>& rows, const std::vector<double>& widths, std::string_view doc) {
  std::vector<double> rates = s.numbers(key, {}, 1e-6, k_most, doc);
  if (rates.empty()) return {};
  if (rates.size() != rows.size() * widths.size()) {
    user_error("{}.{} has {} entries: {} are needed, {} for each of {} ({})", s.section(), key, rates.size(), rows.size() * widths.size(), widths.size(), rows.size(), doc);
  }
  for (double& r : rates) r *= k_giga;
  return {rows, widths, std::move(rates)};
}

Compute read_compute(Spec& s) {
  const std::vector<double> rows = axis(s, "gemm_rows", "rows (tokens) of the matrix products that were measured, ascending"),
                            widths = axis(s, "gemm_widths", "their widths, the lesser of the two extents that are not tokens, ascending");
  Compute c;
  if (!s.has("gemm_gflops")) user_error("compute.gemm_gflops is missing: a table of {} x {} rates, all widths of the least rows first", rows.size(), widths.size());
  c.gemm = table(s, "gemm_gflops", rows, widths, "GFLOP/s of products of tokens with weights, all widths of the least rows, then of the next");
  c.gradient = table(s, "gradient_gflops", rows, widths, "the same of products that sum over the tokens (gradients of weights); none: as gemm_gflops");
  c.bf16 = table(s, "bf16_gflops", rows, widths, "the same as gemm_gflops with factors in bf16; none: not known");
  if (c.gemm.empty()) user_error("compute.gemm_gflops = {}: must be {} rates", s.given().at("gemm_gflops"), rows.size() * widths.size());
  if (c.gradient.empty()) c.gradient = c.gemm;
  if (s.has("attention_gflops")) {
    const std::vector<double> lengths = axis(s, "attention_lengths", "tokens of the sequences whose attention was measured, ascending"),
                              heads = axis(s, "attention_widths", "widths of a head, ascending");
    c.attention = table(s, "attention_gflops", lengths, heads, "GFLOP/s of attention between its four products, all widths of the least length, then of the next; none: made of products and elements");
  }
  c.elements = k_giga * s.number("element_rate", 0.5, 1e-6, k_most, "10^9 numbers per second through softmax, activation or the selection of experts");
  c.route_seconds = k_nano * s.number("route_ns", 300, 0, k_most, "nanoseconds of a token in a router beside its products and elements");
  c.key_seconds = k_nano * s.number("key_ns", 50, 0, k_most, "nanoseconds of each expert that product keys find for a token, likewise");
  c.claim_seconds = k_nano * s.number("claim_ns", 50, 0, k_most, "nanoseconds to judge one claim of a token on an expert");
  c.plan_seconds = k_nano * s.number("plan_ns", 50, 0, k_most, "nanoseconds to plan and count one assignment of a token to an expert");
  c.call_seconds = k_micro * s.number("expert_us", 0.5, 0, k_most, "microseconds that an expert with rows takes in each pass beside its products");
  return c;
}

Memory read_memory(Spec& s) {
  Memory m;
  m.stream = k_giga * required(s, "stream_gbs", 1e-6, k_most, "GB/s of memory read and written in order, both counted");
  m.copy = k_giga * s.number("copy_gbs", m.stream / k_giga / 2, 1e-6, k_most, "GB/s of copies, each byte counted once");
  if (s.has("cached_gbs")) m.cached = table(s, "cached_gbs", axis(s, "cached_bytes", "bytes of what was gone through again and again, ascending"), {1}, "GB/s of that, as stream_gbs; none: as that");
  const std::vector<double> bytes = s.numbers("random_row_bytes", {1024}, 1, k_most, "bytes of the rows that were read at random places, ascending");
  if (bytes.empty() || std::ranges::adjacent_find(bytes, std::greater_equal<>()) != bytes.end()) {
    user_error("memory.random_row_bytes = {}: must be a list of ascending numbers", s.given().at("random_row_bytes"));
  }
  const std::vector<double> among = s.has("random_table_bytes") ? axis(s, "random_table_bytes", "bytes of the tables that they are in, ascending") : std::vector<double>{1};
  m.random = table(s, "random_gbs", bytes, among, "GB/s of rows of these lengths read at random, all tables of the shortest rows first; none: a quarter of stream_gbs");
  if (m.random.empty()) m.random = RateTable(bytes, {1}, std::vector<double>(bytes.size(), m.stream / 4));
  return m;
}

void read_topology(Spec& s, i64 nodes, Network& n) {
  const std::string word = s.choice("topology", "switch", k_topologies, "what lies between the nodes: one switch, fat_tree of two levels, dragonfly, torus");
  n.topology = static_cast<Topology>(std::ranges::find(k_topologies, word) - k_topologies.begin());
  n.hop_latency = n.topology == Topology::one_switch ? 0 : k_micro * s.number("hop_us", 0.1, 0, k_most, "microseconds of each switch or router beyond the first");
  if (n.topology == Topology::fat_tree) {
    n.leaf_nodes = required_count(s, "leaf_nodes", k_most_nodes, "nodes of a leaf switch");
    n.oversubscription = s.number("oversubscription", 1, 1, 1e6, "bandwidth of a leaf to its nodes over that to the spine; 1: as much");
  }
  if (n.topology == Topology::dragonfly) {
    n.routers = required_count(s, "routers_per_group", k_most_nodes, "routers of a group, each with a link to each other one");
    n.router_nodes = required_count(s, "nodes_per_router", k_most_nodes, "nodes of a router");
    n.local_bandwidth = k_gbit * required(s, "local_gbit", 1e-6, k_most, "Gbit/s each way between two routers of a group");
    n.global_bandwidth = k_gbit * required(s, "global_gbit", 1e-6, k_most, "Gbit/s each way between two groups");
  }
  if (n.topology == Topology::torus) {
    n.torus = s.integers("torus", {nodes}, 1, k_most_nodes, "nodes along each axis");
    n.link_bandwidth = k_gbit * required(s, "link_gbit", 1e-6, k_most, "Gbit/s each way between two neighbours");
    double room = 1;
    for (const i64 extent : n.torus) room *= static_cast<double>(extent);
    if (room < static_cast<double>(nodes)) user_error("network.torus = {}: has {} places, cluster.nodes is {}", fmt::join(n.torus, ","), room, nodes);
  }
}

Network read_network(Spec& s, i64 nodes, i64 ranks_per_node) {
  Network n;
  if (ranks_per_node > 1 || s.has("within_gbs")) {
    n.within_latency = k_micro * required(s, "within_us", 0, k_most, "microseconds of a short message between two ranks of a node");
    n.within_bandwidth = k_giga * required(s, "within_gbs", 1e-6, k_most, "GB/s that a rank sends to others of its node");
  }
  if (nodes > 1 || s.has("nic_gbit")) {
    n.latency = k_micro * required(s, "nic_us", 0, k_most, "microseconds of a short message between two nodes");
    n.nic_bandwidth = k_gbit * required(s, "nic_gbit", 1e-6, k_most, "Gbit/s of a node's network interface, each way");
    read_topology(s, nodes, n);
  }
  n.message_seconds = k_micro * s.number("message_us", 0.5, 0, k_most, "microseconds of processor time that a rank takes for each message, sent or received");
  const std::vector<double> range = s.numbers("message_bytes", {}, 0, k_most, "least and most bytes of the messages that were measured; none: not known");
  if (!range.empty() && (range.size() != 2 || range[0] >= range[1])) user_error("network.message_bytes = {}: must be two ascending numbers, or none", s.given().at("message_bytes"));
  if (!range.empty()) n.least_message = range[0], n.most_message = range[1];
  return n;
}

PhaseFactors read_phases(Spec& s) {
  PhaseFactors all = as_rates_say();
  for (const Phase p : k_predicted_phases) {
    all[static_cast<std::size_t>(p)] = s.number(phase_name(p), 1, 1e-3, 1e3, fmt::format("how many times as long phase {} takes in real steps, waits not counted, as by the rates above", phase_name(p)));
  }
  return all;
}

std::vector<double> read_stragglers(Spec& s, i64 nodes) {
  const std::vector<i64> slow = s.integers("nodes", {}, 0, nodes - 1, "slow nodes, counted from 0; none: no such");
  const std::vector<double> factors = s.numbers("slowness", {}, 1e-3, 1e6, "of each of them, how many times as long it computes");
  if (slow.size() != factors.size()) user_error("stragglers.slowness has {} entries: stragglers.nodes has {}, so as many are needed", factors.size(), slow.size());
  std::vector<double> all(static_cast<std::size_t>(nodes), 1.0);
  for (std::size_t i = 0; i < slow.size(); ++i) all[static_cast<std::size_t>(slow[i])] = factors[i];
  return all;
}

// Twelve digits: what came from a file is not given the rounding of its unit.
void set_list(Spec& s, const std::string& key, const std::vector<double>& values, double unit = 1) {
  std::vector<double> scaled = values;
  for (double& v : scaled) v /= unit;
  if (!values.empty()) s.set(key, fmt::format("{:.12g}", fmt::join(scaled, ",")));
}

void set_number(Spec& s, const std::string& key, double value, double unit = 1) { s.set(key, fmt::format("{:.12g}", value / unit)); }

/// One line without what begins a comment.
std::string for_a_file(std::string text) {
  std::ranges::replace(text, '#', ' ');
  return harmless(std::move(text));
}

void set_network(const Network& n, Spec& s) {
  if (n.within_bandwidth > 0) {
    set_number(s, "within_us", n.within_latency, k_micro);
    set_number(s, "within_gbs", n.within_bandwidth, k_giga);
  }
  set_number(s, "message_us", n.message_seconds, k_micro);
  if (n.most_message > 0) set_list(s, "message_bytes", {n.least_message, n.most_message});
  if (n.nic_bandwidth == 0) return;
  set_number(s, "nic_us", n.latency, k_micro);
  set_number(s, "nic_gbit", n.nic_bandwidth, k_gbit);
  s.set("topology", k_topologies[static_cast<std::size_t>(n.topology)]);
  if (n.topology != Topology::one_switch) set_number(s, "hop_us", n.hop_latency, k_micro);
  if (n.topology == Topology::fat_tree) {
    s.set("leaf_nodes", std::to_string(n.leaf_nodes));
    set_number(s, "oversubscription", n.oversubscription);
  } else if (n.topology == Topology::dragonfly) {
    s.set("routers_per_group", std::to_string(n.routers));
    s.set("nodes_per_router", std::to_string(n.router_nodes));
    set_number(s, "local_gbit", n.local_bandwidth, k_gbit);
    set_number(s, "global_gbit", n.global_bandwidth, k_gbit);
  } else if (n.topology == Topology::torus) {
    s.set("torus", fmt::format("{}", fmt::join(n.torus, ",")));
    set_number(s, "link_gbit", n.link_bandwidth, k_gbit);
  }
}

}  // namespace

Spec& ClusterSpecs::section(const std::string& wanted) {
  for (Spec* s : all()) {
    if (s->section() == wanted) return *s;
  }
  user_error("section [{}] is unknown; the sections are cluster, compute, memory, network, phases, stragglers", wanted);
}

Cluster Cluster::read(ClusterSpecs& specs) {
  Cluster c;
  Spec& s = specs.cluster;
  c.name = s.text("name", "cluster", "for people");
  c.origin = s.text("origin", "", "where the numbers are from, for people");
  c.nodes = required_count(s, "nodes", k_most_nodes, "number of nodes");
  c.ranks_per_node = required_count(s, "ranks_per_node", k_most_ranks, "MPI ranks on each node");
  if (c.nodes > k_most_ranks / c.ranks_per_node) user_error("cluster.nodes = {}: with ranks_per_node = {} that is more than {} ranks", c.nodes, c.ranks_per_node, k_most_ranks);
  c.cores = s.integer("cores", c.ranks_per_node, 1, k_most_ranks, "cores of a node for its ranks; fewer than ranks: they take turns");
  c.sharing = s.number("sharing", 1, 1e-3, 1e3, "how many times as long ranks compute for each doubling of the ranks of a core, beside the turns they take");
  c.node_memory = k_gib * s.number("memory_gib", 0, 0, k_most, "GiB of memory of a node; 0: not known");
  c.compute = read_compute(specs.compute);
  c.memory = read_memory(specs.memory);
  c.network = read_network(specs.network, c.nodes, c.ranks_per_node);
  c.phases = read_phases(specs.phases);
  c.slowness = read_stragglers(specs.stragglers, c.nodes);
  for (const Spec* section : specs.all()) section->finish();
  return c;
}

double Memory::stream_of(double bytes) const {
  if (cached.empty() || bytes <= 0 || bytes > cached.rows().back()) return stream;
  return std::max(stream, cached.at(std::max(bytes, cached.rows().front()), 1).rate);
}

double Memory::random_of(double row, double among) const { return random.at(row, among > 0 ? std::clamp(among, random.widths().front(), random.widths().back()) : random.widths().back()).rate; }

Cluster Cluster::with_ranks(i64 wanted) const {
  Cluster c = *this;
  c.ranks_per_node = std::min(ranks_per_node, wanted);
  c.nodes = (wanted + c.ranks_per_node - 1) / c.ranks_per_node;
  if (c.nodes > 1 && network.nic_bandwidth == 0) user_error("{} ranks: need {} nodes, and the cluster file describes one, without a network between nodes", wanted, c.nodes);
  if (c.nodes > 1 && network.topology == Topology::torus) {
    i64 room = 1;
    for (const i64 extent : network.torus) room *= extent;
    if (room < c.nodes) user_error("{} ranks: need {} nodes, and the torus {} has {}", wanted, c.nodes, fmt::join(network.torus, " x "), room);
  }
  c.slowness.resize(static_cast<std::size_t>(c.nodes), 1.0);
  return c;
}

std::string in_ini_form(const Cluster& c) {
  ClusterSpecs specs;
  specs.cluster.set("name", for_a_file(c.name));
  specs.cluster.set("origin", for_a_file(c.origin));
  specs.cluster.set("nodes", std::to_string(c.nodes));
  specs.cluster.set("ranks_per_node", std::to_string(c.ranks_per_node));
  specs.cluster.set("cores", std::to_string(c.cores));
  set_number(specs.cluster, "sharing", c.sharing);
  set_number(specs.cluster, "memory_gib", c.node_memory, k_gib);
  set_list(specs.compute, "gemm_rows", c.compute.gemm.rows());
  set_list(specs.compute, "gemm_widths", c.compute.gemm.widths());
  set_list(specs.compute, "gemm_gflops", c.compute.gemm.rates(), k_giga);
  set_list(specs.compute, "gradient_gflops", c.compute.gradient.rates(), k_giga);
  set_list(specs.compute, "bf16_gflops", c.compute.bf16.rates(), k_giga);
  set_list(specs.compute, "attention_lengths", c.compute.attention.rows());
  set_list(specs.compute, "attention_widths", c.compute.attention.widths());
  set_list(specs.compute, "attention_gflops", c.compute.attention.rates(), k_giga);
  set_number(specs.compute, "element_rate", c.compute.elements, k_giga);
  set_number(specs.compute, "route_ns", c.compute.route_seconds, k_nano);
  set_number(specs.compute, "key_ns", c.compute.key_seconds, k_nano);
  set_number(specs.compute, "claim_ns", c.compute.claim_seconds, k_nano);
  set_number(specs.compute, "plan_ns", c.compute.plan_seconds, k_nano);
  set_number(specs.compute, "expert_us", c.compute.call_seconds, k_micro);
  set_number(specs.memory, "stream_gbs", c.memory.stream, k_giga);
  set_list(specs.memory, "cached_bytes", c.memory.cached.rows());
  set_list(specs.memory, "cached_gbs", c.memory.cached.rates(), k_giga);
  set_number(specs.memory, "copy_gbs", c.memory.copy, k_giga);
  set_list(specs.memory, "random_row_bytes", c.memory.random.rows());
  if (c.memory.random.widths() != std::vector<double>{1}) set_list(specs.memory, "random_table_bytes", c.memory.random.widths());
  set_list(specs.memory, "random_gbs", c.memory.random.rates(), k_giga);
  set_network(c.network, specs.network);
  for (const Phase p : k_predicted_phases) set_number(specs.phases, phase_name(p), c.factor(p));
  std::vector<i64> slow;
  std::vector<double> factors;
  for (std::size_t n = 0; n < c.slowness.size(); ++n) {
    if (c.slowness[n] != 1) slow.push_back(static_cast<i64>(n)), factors.push_back(c.slowness[n]);
  }
  if (!slow.empty()) specs.stragglers.set("nodes", fmt::format("{}", fmt::join(slow, ",")));
  set_list(specs.stragglers, "slowness", factors);
  Cluster::read(specs);  // the keys with their meanings
  const std::vector<Spec*> all = specs.all();
  return resolved_ini({all.begin(), all.end()});
}

}  // namespace pleiad::sim
