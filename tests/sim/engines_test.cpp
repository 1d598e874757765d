// The engines against each other: the busiest-link model, and SimGrid, which lets every flow share its links.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "clusters.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/sim/prediction.hpp"
#include "pleiad/sim/routes.hpp"

namespace pleiad::sim {
namespace {

std::unique_ptr<Engine> simgrid_or_null() {
  try {
    return make_engine("simgrid");
  } catch (const UserError&) {
    return nullptr;
  }
}
#define SIMGRID_OR_SKIP(engine)                                                                    \
  const std::unique_ptr<Engine> engine = simgrid_or_null();                                        \
  if (!engine) GTEST_SKIP() << "SimGrid (Debian package libsimgrid-dev) was not there at building"

/// Nodes of 8 ranks, 12.5 GB/s each, and a fabric that is narrower than its nodes.
Cluster cluster_of(i64 nodes, Topology topology) {
  Cluster c = unit_cluster(nodes, 8);
  const RateTable fast({1, 1 << 20}, {1, 1 << 20}, {1e13, 1e13, 1e13, 1e13});  // so that a step is mostly its exchange
  c.compute.gemm = c.compute.gradient = fast;
  c.compute.elements = c.memory.stream = c.memory.copy = c.network.within_bandwidth = 1e12;
  c.network.nic_bandwidth = 12.5e9;
  c.network.topology = topology;
  c.network.leaf_nodes = 4;
  c.network.oversubscription = 2;
  c.network.routers = 4;
  c.network.router_nodes = 2;
  c.network.local_bandwidth = 6e9;
  c.network.global_bandwidth = 20e9;
  c.network.torus = nodes == 8 ? std::vector<i64>{8} : nodes == 32 ? std::vector<i64>{8, 4} : std::vector<i64>{8, 4, 4};
  c.network.link_bandwidth = 12.5e9;
  return c;
}

StepModel model_of(i64 ranks, i64 experts, const std::string& kind) {
  StepModel m;
  m.model = {.vocab = 256, .width = 256, .layers = 2, .heads = 4, .seq_len = 128, .dense_width = 1024, .dense_kind = {}};
  m.batch = 4 * ranks;
  m.lanes = ranks;
  m.moe.layers = {1};
  m.moe.expert_widths.assign(static_cast<std::size_t>(experts), 64);
  m.choices = 4;
  m.exchange.kind = kind;
  m.exchange.chunks = 1;
  return m;
}

double longest(const std::vector<double>& seconds) { return std::ranges::max(seconds); }

TEST(Engines, AgreeOnStepsOfEveryTopology) {
  SIMGRID_OR_SKIP(simgrid);
  const auto analytic = make_engine("analytic");
  const char* const names[] = {"switch", "fat_tree", "dragonfly", "torus"};
  for (const i64 nodes : {i64{8}, i64{32}, i64{128}}) {
    for (const Topology t : {Topology::one_switch, Topology::fat_tree, Topology::dragonfly, Topology::torus}) {
      for (const char* skew : {"uniform", "zipf:0.5", "hot:0.05"}) {
        if (nodes == 128 && (t != Topology::fat_tree || std::string(skew) == "hot:0.05")) continue;  // the wire alone is compared there
        const i64 ranks = nodes * 8;
        const Cluster c = cluster_of(nodes, t);
        const StepModel m = model_of(ranks, 2 * ranks, nodes == 32 ? "hierarchical" : "all_to_all");
        const auto demand = make_up(Skew::parse(skew, "test"), {.experts = m.experts(), .seq_len = m.model.seq_len, .choices = m.choices});
        const Prediction a = predict({m, c, ranks, *demand, *analytic, 0}), s = predict({m, c, ranks, *demand, *simgrid, 0});
        const double bar = std::string(skew) == "uniform" ? 0.05 : 0.10;
        std::cout << fmt::format("{:>3} nodes {:<9} {:<8}: step {:9.3f} ms and {:9.3f} ms, {:+.2f} %; exchange {:8.3f} and {:8.3f}\n", nodes, names[static_cast<int>(t)], skew, 1e3 * a.seconds,
                                 1e3 * s.seconds, 100 * (a.seconds / s.seconds - 1), 1e3 * a.mean_of(Phase::exchange), 1e3 * s.mean_of(Phase::exchange))
                  << std::flush;
        EXPECT_NEAR(a.seconds / s.seconds, 1, bar);
      }
    }
  }
}

/// From every node so much to each other one.
Flow flow_of(const std::vector<double>& from, const std::vector<double>& to) { return {0, static_cast<i64>(from.size()), 1, from, to}; }

TEST(Engines, AgreeOnTheWireAlone) {
  SIMGRID_OR_SKIP(simgrid);
  const auto analytic = make_engine("analytic");
  const char* const names[] = {"switch", "fat_tree", "dragonfly", "torus"};
  for (const i64 nodes : {i64{8}, i64{32}, i64{128}}) {
    for (const Topology t : {Topology::one_switch, Topology::fat_tree, Topology::dragonfly, Topology::torus}) {
      for (const double exponent : {0.0, 0.5, 1.0}) {
        if (nodes == 128 && (exponent != 0.5 || t == Topology::fat_tree)) continue;  // SimGrid needs seconds for each
        const Cluster c = cluster_of(nodes, t);
        std::vector<double> from(static_cast<std::size_t>(nodes), 1.0), to;
        for (i64 n = 0; n < nodes; ++n) to.push_back(1e6 / std::pow(1.0 + static_cast<double>(n * 37 % nodes), exponent));
        const Flow flow = flow_of(from, to), back = flow.reversed();
        for (const Flow* f : {&flow, &back}) {
          if (f == &back && nodes == 128) continue;
          LinkLoads loads(c.network, nodes);
          loads.add(*f, 1);
          const Transfer transfer{f, 1};
          const double a = longest(analytic->carry(c, std::span(&transfer, 1), loads)), s = longest(simgrid->carry(c, std::span(&transfer, 1), loads));
          std::cout << fmt::format("{:>3} nodes {:<9} zipf {}: {:.3f} ms and {:.3f} ms, {:+.2f} %\n", nodes, names[static_cast<int>(t)], exponent, 1e3 * a, 1e3 * s, 100 * (a / s - 1)) << std::flush;
          EXPECT_NEAR(a / s, 1, exponent == 0 ? 0.05 : 0.10) << nodes << " nodes, " << names[static_cast<int>(t)] << ", zipf " << exponent;
        }
      }
    }
  }
}

TEST(Simgrid, SharesALinkFairly) {
  SIMGRID_OR_SKIP(simgrid);
  Cluster c = cluster_of(3, Topology::one_switch);
  c.network.nic_bandwidth = 1e9;
  // Node 0 sends 2 GB to node 1 and 1 GB to node 2: half of its interface each, then all of it.
  const Flow flow = flow_of({1e9, 0, 0}, {0, 2, 1});
  LinkLoads loads(c.network, 3);
  loads.add(flow, 1);
  const Transfer transfer{&flow, 1};
  const std::vector<double> seconds = simgrid->carry(c, std::span(&transfer, 1), loads);
  EXPECT_NEAR(seconds[0], 3, 0.01);
  EXPECT_NEAR(seconds[1], 3, 0.01);
  EXPECT_NEAR(seconds[2], 2, 0.01);
  const Transfer twice{&flow, 2};  // remembered, and scaled
  EXPECT_NEAR(simgrid->carry(c, std::span(&twice, 1), loads)[2], 4, 0.02);
}

TEST(Simgrid, NeedsItsProgram) {
  const char* before = std::getenv("PLEIAD_FLOWS");
  const std::string kept = before ? before : "";
  setenv("PLEIAD_FLOWS", "/there/is/none", 1);
  EXPECT_THROW(make_engine("simgrid"), UserError);
  if (std::filesystem::exists("/bin/false")) {
    setenv("PLEIAD_FLOWS", "/bin/false", 1);
    const auto broken = make_engine("simgrid");
    const Cluster c = cluster_of(8, Topology::one_switch);
    const Flow flow = flow_of(std::vector<double>(8, 1.0), std::vector<double>(8, 1.0));
    const Transfer transfer{&flow, 1};
    EXPECT_THROW(broken->carry(c, std::span(&transfer, 1), LinkLoads(c.network, 8)), UserError);
  }
  if (before) setenv("PLEIAD_FLOWS", kept.c_str(), 1);
  else unsetenv("PLEIAD_FLOWS");
}

TEST(Routes, AreThoseThatLinkLoadsCounts) {
  for (const Topology t : {Topology::one_switch, Topology::fat_tree, Topology::dragonfly, Topology::torus}) {
    const i64 nodes = 32;
    const Network n = cluster_of(nodes, t).network;
    const Routes routes(n, nodes);
    std::vector<double> load(routes.bandwidths().size(), 0.0);
    std::vector<double> from, to;
    for (i64 i = 0; i < nodes; ++i) from.push_back(1 + static_cast<double>(i * 7 % 5)), to.push_back(static_cast<double>(i * 3 % 4));
    for (i64 a = 0; a < nodes; ++a) {
      for (i64 b = 0; b < nodes; ++b) {
        if (a == b) continue;
        for (const Route& r : routes.between(a, b)) {
          for (const i64 l : r.links) load[static_cast<std::size_t>(l)] += r.share * from[a] * to[b];
        }
      }
    }
    LinkLoads counted(n, nodes);
    counted.add(flow_of(from, to), 1);
    double fabric = 0;
    for (std::size_t l = 0; l < load.size(); ++l) {
      if (l < static_cast<std::size_t>(nodes)) EXPECT_NEAR(load[l], counted.out_bytes(static_cast<i64>(l)), 1e-6);
      else if (l < static_cast<std::size_t>(2 * nodes)) EXPECT_NEAR(load[l], counted.in_bytes(static_cast<i64>(l) - nodes), 1e-6);
      else fabric = std::max(fabric, load[l] / routes.bandwidths()[l]);
    }
    EXPECT_NEAR(fabric, counted.fabric_seconds(), 1e-12) << static_cast<int>(t);
  }
}

}  // namespace
}  // namespace pleiad::sim
