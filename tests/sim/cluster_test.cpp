#include "pleiad/sim/cluster.hpp"

#include <gtest/gtest.h>

#include <map>

#include "clusters.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::sim {
namespace {

using Keys = std::map<std::string, std::string>;  // section.key

const Keys k_good = {{"cluster.nodes", "6"},        {"cluster.ranks_per_node", "2"}, {"compute.gemm_rows", "1,10"},   {"compute.gemm_widths", "4,8,16"},
                     {"compute.gemm_gflops", "1,2,3,4,5,6"}, {"memory.stream_gbs", "10"}, {"network.within_us", "0.5"}, {"network.within_gbs", "5"},
                     {"network.nic_us", "2"},       {"network.nic_gbit", "8"}};

Cluster read(const Keys& changes) {
  Keys keys = k_good;
  for (const auto& [key, value] : changes) keys[key] = value;
  ClusterSpecs specs;
  for (const auto& [key, value] : keys) {
    const std::size_t dot = key.find('.');
    if (value != "absent") specs.section(key.substr(0, dot)).set(key.substr(dot + 1), value);
  }
  return Cluster::read(specs);
}

std::string complaint(const Keys& changes) {
  try {
    read(changes);
  } catch (const UserError& e) {
    return e.what();
  }
  return "none";
}

TEST(Cluster, IsInSecondsAndBytes) {
  const Cluster c = read({{"network.hop_us", "0.25"}, {"network.topology", "fat_tree"}, {"network.leaf_nodes", "3"}, {"stragglers.nodes", "4"}, {"stragglers.slowness", "1.5"}, {"cluster.cores", "1"}});
  EXPECT_EQ(c.ranks(), 12);
  EXPECT_DOUBLE_EQ(c.network.latency, 2e-6);
  EXPECT_DOUBLE_EQ(c.network.nic_bandwidth, 1e9);
  EXPECT_DOUBLE_EQ(c.network.within_bandwidth, 5e9);
  EXPECT_DOUBLE_EQ(c.network.hop_latency, 2.5e-7);
  EXPECT_EQ(c.network.topology, Topology::fat_tree);
  EXPECT_NEAR(c.compute.gemm.at(10, 8).rate, 5e9, 1);
  EXPECT_EQ(c.compute.gradient, c.compute.gemm);
  EXPECT_TRUE(c.compute.bf16.empty());
  EXPECT_DOUBLE_EQ(c.memory.stream, 1e10);
  EXPECT_EQ(c.cores, 1);
  EXPECT_EQ(c.slowness, (std::vector<double>{1, 1, 1, 1, 1.5, 1}));
}

TEST(Cluster, IsReadAsItIsWritten) {
  const std::vector<Keys> all = {
      {},
      {{"network.topology", "fat_tree"}, {"network.leaf_nodes", "3"}, {"network.oversubscription", "2.5"}, {"stragglers.nodes", "1,5"}, {"stragglers.slowness", "1.25,0.5"}},
      {{"network.topology", "dragonfly"}, {"network.routers_per_group", "3"}, {"network.nodes_per_router", "1"}, {"network.local_gbit", "40"}, {"network.global_gbit", "25"}},
      {{"network.topology", "torus"}, {"network.torus", "3,2"}, {"network.link_gbit", "56"}, {"network.message_bytes", "8,1048576"}},
      {{"compute.gradient_gflops", "1.1,2.3,0.7,4,5,6"}, {"cluster.name", "a b, c"}, {"cluster.origin", "here"}},
      {{"compute.attention_lengths", "8,32"}, {"compute.attention_widths", "16"}, {"compute.attention_gflops", "1.5,3"}},
      {{"cluster.nodes", "1"}, {"network.nic_us", "absent"}, {"network.nic_gbit", "absent"}},
      {{"cluster.ranks_per_node", "1"}, {"network.within_us", "absent"}, {"network.within_gbs", "absent"}},
      {{"memory.random_row_bytes", "64,1000"}, {"memory.random_table_bytes", "1000,5000"}, {"memory.random_gbs", "3,0.3,7,0.7"}, {"compute.key_ns", "20"}, {"compute.claim_ns", "30"}},
      {{"cluster.sharing", "1.125"}, {"phases.expert", "1.25"}, {"phases.grad_sync", "0.5"}},
      {{"compute.bf16_gflops", "2,4,6,8,10,12"}, {"memory.random_row_bytes", "64,1000"}, {"memory.random_gbs", "0.3,0.7"}, {"network.message_us", "0.1"}},
  };
  for (const Keys& keys : all) {
    const Cluster c = read(keys);
    const std::string text = in_ini_form(c);
    ClusterSpecs specs;
    std::string section;
    for (std::size_t at = 0; at < text.size();) {  // lines of [section], # meaning, key = value
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      at = end + 1;
      const std::size_t equals = line.find(" = ");
      if (line.starts_with("[")) section = line.substr(1, line.size() - 2);
      else if (!line.empty() && line[0] != '#') specs.section(section).set(line.substr(0, equals), line.substr(equals + 3));
    }
    EXPECT_EQ(Cluster::read(specs), c) << text;
    EXPECT_NE(text.find("# GFLOP/s of products of tokens with weights"), std::string::npos);
  }
}

TEST(Cluster, SaysWhatIsWrong) {
  const std::vector<std::pair<Keys, std::string>> table = {
      {{{"cluster.nodes", "absent"}}, "cluster.nodes is missing: number of nodes"},
      {{{"cluster.nodes", "0"}}, "cluster.nodes = 0: must be a whole number from 1"},
      {{{"cluster.ranks_per_node", "1048576"}}, "cluster.nodes = 6: with ranks_per_node = 1048576 that is more than"},
      {{{"cluster.node", "1"}}, "cluster.node = 1: unknown key"},
      {{{"compute.gemm_rows", "absent"}}, "compute.gemm_rows is missing"},
      {{{"compute.gemm_rows", "10,1"}}, "compute.gemm_rows = 10,1: must be a list of ascending numbers"},
      {{{"compute.gemm_gflops", "1,2,3"}}, "compute.gemm_gflops has 3 entries: 6 are needed, 3 for each of 2"},
      {{{"compute.gemm_gflops", "1,2,3,4,5,0"}}, "compute.gemm_gflops = 1,2,3,4,5,0: must be a comma-separated list"},
      {{{"compute.gemm_gflops", "none"}}, "compute.gemm_gflops = none: must be 6 rates"},
      {{{"compute.gradient_gflops", "1"}}, "compute.gradient_gflops has 1 entries"},
      {{{"compute.attention_gflops", "1"}}, "compute.attention_lengths is missing"},
      {{{"compute.attention_gflops", "1"}, {"compute.attention_lengths", "8,32"}, {"compute.attention_widths", "16"}}, "compute.attention_gflops has 1 entries: 2 are needed"},
      {{{"memory.stream_gbs", "absent"}}, "memory.stream_gbs is missing: GB/s"},
      {{{"memory.stream_gbs", "-1"}}, "memory.stream_gbs = -1: must be a number from"},
      {{{"memory.random_gbs", "1,2"}}, "memory.random_gbs has 2 entries: 1 are needed"},
      {{{"memory.random_row_bytes", "none"}}, "memory.random_row_bytes = none: must be a list"},
      {{{"network.nic_gbit", "absent"}}, "network.nic_gbit is missing"},
      {{{"network.topology", "ring"}}, "network.topology = ring: must be one of switch, fat_tree, dragonfly, torus"},
      {{{"network.leaf_nodes", "2"}}, "network.leaf_nodes = 2: unknown key"},
      {{{"network.topology", "fat_tree"}}, "network.leaf_nodes is missing"},
      {{{"network.topology", "torus"}, {"network.torus", "2,2"}, {"network.link_gbit", "1"}}, "network.torus = 2,2: has 4 places, cluster.nodes is 6"},
      {{{"network.message_bytes", "8"}}, "network.message_bytes = 8: must be two ascending numbers"},
      {{{"stragglers.nodes", "6"}, {"stragglers.slowness", "2"}}, "stragglers.nodes = 6: must be a comma-separated list, each entry a whole number from 0 to 5"},
      {{{"stragglers.nodes", "1"}}, "stragglers.slowness has 0 entries: stragglers.nodes has 1"},
      {{{"disk.size", "1"}}, "section [disk] is unknown; the sections are cluster, compute, memory, network, phases, stragglers"},
      {{{"phases.expert", "0"}}, "phases.expert = 0: must be a number from"},
      {{{"phases.metrics", "1"}}, "phases.metrics = 1: unknown key"},
      {{{"memory.random_table_bytes", "5,1"}}, "memory.random_table_bytes = 5,1: must be a list of ascending numbers"},
  };
  for (const auto& [changes, expected] : table) {
    EXPECT_EQ(complaint(changes).substr(0, expected.size()), expected) << complaint(changes);
  }
}

TEST(Cluster, TakesOtherNumbersOfRanks) {
  Cluster c = unit_cluster(4, 8);
  c.slowness[3] = 2;
  EXPECT_EQ(c.with_ranks(32), c);
  EXPECT_EQ(c.with_ranks(64).nodes, 8);
  EXPECT_EQ(c.with_ranks(64).slowness, (std::vector<double>{1, 1, 1, 2, 1, 1, 1, 1}));
  EXPECT_EQ(c.with_ranks(17).nodes, 3);
  EXPECT_EQ(c.with_ranks(3).nodes, 1);
  EXPECT_EQ(c.with_ranks(3).ranks_per_node, 3);
  c.network.topology = Topology::torus;
  c.network.torus = {2, 2};
  EXPECT_THROW(c.with_ranks(33), UserError);
  Cluster alone = unit_cluster(1, 4);
  alone.network.nic_bandwidth = 0;
  EXPECT_THROW(alone.with_ranks(8), UserError);
}

TEST(Memory, IsFasterWhereCachesHoldIt) {
  Memory m{.stream = 1e9, .cached = RateTable({100, 1000}, {1}, {4e9, 2e9}), .copy = 1e9, .random = {}};
  EXPECT_DOUBLE_EQ(m.stream_of(0), 1e9);      // nobody knows
  EXPECT_DOUBLE_EQ(m.stream_of(10), 4e9);     // not faster than the least that was measured
  EXPECT_NEAR(m.stream_of(1000), 2e9, 1);
  EXPECT_DOUBLE_EQ(m.stream_of(1001), 1e9);   // more than caches hold
  m.cached = {};
  EXPECT_DOUBLE_EQ(m.stream_of(10), 1e9);
}

}  // namespace
}  // namespace pleiad::sim
