// What probes say becomes the description of a cluster: checked with times that are made up.
#include <gtest/gtest.h>

#include "pleiad/bench/message_probes.hpp"
#include "pleiad/sim/collectives.hpp"

namespace pleiad::bench {
namespace {

/// Every probe of this machine with the seconds that a rate of its own explains: the i-th runs at i + 1 units per second.
std::vector<Probe> made_up(const CalibrationSizes& sizes, bool bf16) {
  MachineProbes machine(sizes, bf16);
  std::vector<Probe> probes;
  machine.add_to(probes);
  for (std::size_t i = 0; i < probes.size(); ++i) probes[i].seconds = probes[i].work / static_cast<double>(i + 1);
  return probes;
}

void add_messages(const CalibrationSizes& sizes, const std::string& group, double latency, double bandwidth, double each, std::vector<Probe>& probes) {
  for (const double bytes : sizes.messages) probes.push_back({group, bytes, {}, true, latency + bytes / bandwidth});
  probes.push_back({"message " + group, 128, {}, true, 128 * each});
}

sim::Cluster described(const CalibrationSizes& sizes, const std::vector<Probe>& probes, i64 nodes, i64 ranks_per_node) {
  sim::Cluster c;
  c.name = "made up";
  c.origin = "a test; with # in it";
  c.nodes = nodes;
  c.ranks_per_node = c.cores = ranks_per_node;
  c.slowness.assign(static_cast<std::size_t>(nodes), 1.0);
  set_machine_rates(sizes, probes, c);
  set_network_rates(sizes, probes, c);
  return c;
}

sim::Cluster read_again(const sim::Cluster& c) {
  sim::ClusterSpecs specs;
  std::string section;
  std::istringstream text(sim::in_ini_form(c));
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("[")) section = line.substr(1, line.size() - 2);
    const std::size_t equal = line.find(" = ");
    if (line.starts_with("#") || equal == std::string::npos) continue;
    if (line.substr(equal + 3) != "none") specs.section(section).set(line.substr(0, equal), line.substr(equal + 3));
  }
  return sim::Cluster::read(specs);
}

TEST(Calibration, PutsEveryRateInItsPlace) {
  const CalibrationSizes sizes = CalibrationSizes::quick();
  const sim::Cluster c = described(sizes, made_up(sizes, false), 1, 1);
  const std::vector<double> gemm = c.compute.gemm.rates(), gradient = c.compute.gradient.rates(), random = c.memory.random.rates();
  ASSERT_EQ(gemm.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(gemm[i], static_cast<double>(2 * i + 1), 1e-9);
    EXPECT_NEAR(gradient[i], static_cast<double>(2 * i + 2), 1e-9);
  }
  EXPECT_TRUE(c.compute.bf16.empty());
  EXPECT_EQ(c.compute.attention.rows(), sizes.lengths);
  EXPECT_EQ(c.compute.attention.widths(), sizes.heads);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(c.compute.attention.rates().at(i), static_cast<double>(9 + i), 1e-9);
  EXPECT_NEAR(c.compute.elements, 13, 1e-9);
  EXPECT_NEAR(c.memory.stream, 14, 1e-9);
  EXPECT_EQ(c.memory.cached.rows(), sizes.cached_bytes);
  EXPECT_NEAR(c.memory.cached.rates().at(1), 16, 1e-9);
  EXPECT_NEAR(c.memory.copy, 17, 1e-9);
  EXPECT_EQ(c.memory.random.rows(), sizes.row_bytes);
  EXPECT_EQ(c.memory.random.widths(), (std::vector<double>{65536, 262144, 1048576}));
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(random.at(i), static_cast<double>(18 + i), 1e-9);
  EXPECT_EQ(c.network.within_bandwidth, 0) << "a rank by itself";
}

TEST(Calibration, FindsLatencyAndBandwidth) {
  const CalibrationSizes sizes = CalibrationSizes::quick();
  std::vector<Probe> probes = made_up(sizes, false);
  add_messages(sizes, "within", 1e-6, 4e9, 2e-7, probes);
  add_messages(sizes, "between", 5e-6, 1e9, 7e-7, probes);
  const sim::Cluster c = described(sizes, probes, 2, 3);
  EXPECT_NEAR(c.network.within_latency, 1e-6, 1e-12);
  EXPECT_NEAR(c.network.within_bandwidth, 4e9, 1e3);
  EXPECT_NEAR(c.network.latency, 5e-6, 1e-12);
  EXPECT_NEAR(c.network.nic_bandwidth, 3e9, 1e3) << "three ranks share it";
  EXPECT_NEAR(c.network.message_seconds, 7e-7, 1e-15);
  EXPECT_EQ(c.network.most_message, sizes.messages.back());
}

// A cable of 50 MB/s that lets 64 KiB pass at 2 GB/s, as limits with a burst do.
TEST(Calibration, TakesTheBandwidthOfLongMessages) {
  CalibrationSizes sizes = CalibrationSizes::quick();
  sizes.messages = {8, 4096, 65536, 2097152};
  std::vector<Probe> probes = made_up(sizes, false);
  for (const double bytes : sizes.messages) probes.push_back({"between", bytes, {}, true, 1e-5 + std::min(bytes, 65536.0) / 2e9 + std::max(0.0, bytes - 65536) / 5e7});
  probes.push_back({"message between", 128, {}, true, 1e-4});
  EXPECT_NEAR(described(sizes, probes, 2, 1).network.nic_bandwidth, 5e7, 2e6);
}

TEST(Calibration, IsReadBackAsItWas) {
  const CalibrationSizes sizes = CalibrationSizes::quick();
  std::vector<Probe> probes = made_up(sizes, false);
  for (Probe& p : probes) p.seconds /= 1e9;
  add_messages(sizes, "within", 1e-6, 4e9, 2e-7, probes);
  add_messages(sizes, "between", 5e-6, 1e9, 7e-7, probes);
  const sim::Cluster c = described(sizes, probes, 2, 3), again = read_again(c);
  EXPECT_EQ(again.origin, "a test; with   in it");
  EXPECT_EQ(again.compute.gemm.rows(), c.compute.gemm.rows());
  for (std::size_t i = 0; i < c.compute.gemm.rates().size(); ++i) EXPECT_NEAR(again.compute.gemm.rates()[i] / c.compute.gemm.rates()[i], 1, 1e-11);
  EXPECT_NEAR(again.network.nic_bandwidth / c.network.nic_bandwidth, 1, 1e-11);
  EXPECT_EQ(again.network.topology, sim::Topology::one_switch);
}

// Messages that noise makes as fast when long as when short still have a bandwidth, which a file must have.
TEST(Calibration, HasABandwidthEvenWhereTimesDoNotGrow) {
  const CalibrationSizes sizes = CalibrationSizes::quick();
  std::vector<Probe> probes = made_up(sizes, false);
  for (const double bytes : sizes.messages) probes.push_back({"within", bytes, {}, true, bytes > 8 ? 1e-6 : 2e-6});
  probes.push_back({"message within", 128, {}, true, 1e-4});
  EXPECT_NEAR(described(sizes, probes, 1, 2).network.within_bandwidth, 4096 / 1e-6, 1);
}

TEST(Calibration, SaysHowFarCollectivesAreFromTheDescription) {
  const CalibrationSizes sizes = CalibrationSizes::quick();
  std::vector<Probe> probes = made_up(sizes, false);
  add_messages(sizes, "within", 1e-6, 4e9, 2e-7, probes);
  probes.push_back({"sum", 8, {}, true, 3e-6});
  probes.push_back({"all to all", 400, {}, true, 2e-6});
  const sim::Cluster c = described(sizes, probes, 1, 2);
  const std::vector<std::string> lines = collectives_in_words(probes, c);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1], "alltoallv of 400 bytes between any two of 2 ranks: measured 2.0 us, by the numbers of the file 1.5 us");
  EXPECT_EQ(lines[0], "all-reduce of 8 bytes over 2 ranks: measured 3.0 us, by the numbers of the file 1.4 us");
  EXPECT_EQ(sim::all_reduce_seconds(c, 1, 8), 0);
}

}  // namespace
}  // namespace pleiad::bench
