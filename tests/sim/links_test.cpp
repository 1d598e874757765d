#include "pleiad/sim/links.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "clusters.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::sim {
namespace {

/// One byte between any two nodes.
Flow each_to_each(i64 nodes) { return {0, nodes, 1, std::vector<double>(static_cast<std::size_t>(nodes), 1.0), std::vector<double>(static_cast<std::size_t>(nodes), 1.0)}; }

/// Anything, with a first node and several profiles.
Flow uneven(i64 first, i64 nodes, i64 profiles) {
  Flow f{first, nodes, profiles, {}, {}};
  for (i64 i = 0; i < nodes * profiles; ++i) {
    f.from.push_back(1 + static_cast<double>(i * 7 % 5));
    f.to.push_back(static_cast<double>(i * 3 % 4));
  }
  return f;
}

Network network(Topology topology) {
  Network n = unit_cluster(2, 1).network;
  n.nic_bandwidth = 1;
  n.topology = topology;
  n.leaf_nodes = 2;
  n.routers = 3;
  n.router_nodes = 2;
  n.local_bandwidth = n.global_bandwidth = n.link_bandwidth = 1;
  return n;
}

using Loads = std::map<std::string, double>;

/// Every pair of nodes walks its path by itself.
Loads walk(const Network& n, const Flow& f) {
  Loads loads;
  for (i64 a = f.first_node; a < f.first_node + f.nodes; ++a) {
    for (i64 b = f.first_node; b < f.first_node + f.nodes; ++b) {
      double bytes = 0;
      for (i64 p = 0; p < f.profiles; ++p) bytes += f.from[(a - f.first_node) * f.profiles + p] * f.to[(b - f.first_node) * f.profiles + p];
      if (a == b || bytes == 0) continue;
      loads[fmt::format("node {} out", a)] += bytes;
      loads[fmt::format("node {} in", b)] += bytes;
      if (n.topology == Topology::fat_tree && a / n.leaf_nodes != b / n.leaf_nodes) {
        loads[fmt::format("leaf {} up", a / n.leaf_nodes)] += bytes;
        loads[fmt::format("leaf {} down", b / n.leaf_nodes)] += bytes;
      }
      if (n.topology == Topology::dragonfly) {
        const i64 each = n.routers * n.router_nodes, g = a / each, h = b / each;
        i64 at = a / n.router_nodes % n.routers;
        const i64 target = b / n.router_nodes % n.routers;
        const auto go = [&](i64 group, i64 to) {
          if (at != to) loads[fmt::format("group {}, router {} to {}", group, at, to)] += bytes;
          at = to;
        };
        if (g != h) {
          go(g, h % n.routers);
          loads[fmt::format("group {} to group {}", g, h)] += bytes;
          at = g % n.routers;
        }
        go(h, target);
      }
      if (n.topology == Topology::torus) {
        std::vector<i64> from, to, weight;
        i64 rest = 1;
        for (const i64 e : n.torus) rest *= e;
        i64 ra = a, rb = b;
        for (const i64 e : n.torus) {
          rest /= e;
          weight.push_back(rest);
          from.push_back(ra / rest);
          to.push_back(rb / rest);
          ra %= rest;
          rb %= rest;
        }
        for (std::size_t axis = 0; axis < n.torus.size(); ++axis) {
          const i64 e = n.torus[axis], up = (to[axis] - from[axis] + e) % e, down = e - up;
          const auto step = [&](i64 hops, i64 direction, double amount) {
            for (i64 i = 0; i < hops; ++i) {
              i64 node = 0;
              for (std::size_t k = 0; k < from.size(); ++k) node += weight[k] * (k == axis ? ((from[k] + direction * i) % e + e) % e : from[k]);
              loads[fmt::format("node {} along axis {}, {}", node, axis, direction > 0 ? "up" : "down")] += amount;
            }
          };
          if (up == 0) continue;
          if (up <= down) step(up, 1, up == down ? bytes / 2 : bytes);
          if (down <= up) step(down, -1, up == down ? bytes / 2 : bytes);
          from[axis] = to[axis];
        }
      }
    }
  }
  return loads;
}

void expect_walked(const Network& n, i64 nodes, const Flow& flow) {
  LinkLoads counted(n, nodes);
  counted.add(flow, 3);
  Loads expected = walk(n, flow);
  for (const LinkLoads::Link& link : counted.busiest(1 << 20)) {
    if (link.bytes < 1e-9) continue;
    EXPECT_NEAR(link.bytes, 3 * expected[link.name], 1e-9 * link.bytes) << link.name;
    expected.erase(link.name);
  }
  for (const auto& [name, bytes] : expected) EXPECT_EQ(bytes, 0) << name;
}

TEST(LinkLoads, OfASwitchAreThoseOfTheNodes) {
  const Network n = network(Topology::one_switch);
  LinkLoads loads(n, 4);
  loads.add(each_to_each(4), 2);
  EXPECT_DOUBLE_EQ(loads.node_seconds(1), 6);
  EXPECT_DOUBLE_EQ(loads.fabric_seconds(), 0);
}

TEST(LinkLoads, OfAFatTreeArePaidAboveTheLeaves) {
  Network n = network(Topology::fat_tree);
  n.oversubscription = 2;  // a leaf of 2 nodes has 1 byte/s up
  LinkLoads loads(n, 4);
  loads.add(each_to_each(4), 1);
  EXPECT_DOUBLE_EQ(loads.node_seconds(0), 3);
  EXPECT_DOUBLE_EQ(loads.fabric_seconds(), 4);  // 2 nodes to 2 others
  EXPECT_EQ(loads.busiest(1).front().name, "leaf 0 up");
}

TEST(LinkLoads, OfARingGoTheShorterWay) {
  Network n = network(Topology::torus);
  n.torus = {4};
  LinkLoads loads(n, 4);
  loads.add(each_to_each(4), 1);
  EXPECT_DOUBLE_EQ(loads.fabric_seconds(), 2);  // a neighbour, and half of those across from two places
  n.torus = {5};
  LinkLoads odd(n, 5);
  odd.add(each_to_each(5), 1);
  EXPECT_DOUBLE_EQ(odd.fabric_seconds(), 3);  // 1 + 2 hops
}

TEST(LinkLoads, AreThoseOfEveryPairByItself) {
  for (const Topology t : {Topology::one_switch, Topology::fat_tree, Topology::dragonfly}) {
    expect_walked(network(t), 20, uneven(0, 20, 3));
    expect_walked(network(t), 20, uneven(5, 9, 2));
    expect_walked(network(t), 7, each_to_each(7));
  }
  for (const std::vector<i64>& extents : {std::vector<i64>{24}, {4, 6}, {2, 3, 4}, {5, 5}}) {
    Network n = network(Topology::torus);
    n.torus = extents;
    expect_walked(n, 22, uneven(0, 22, 3));
    expect_walked(n, 22, uneven(4, 11, 1));
  }
}

TEST(LinkLoads, AddUp) {
  const Network n = network(Topology::fat_tree);
  LinkLoads one(n, 4), all(n, 4);
  one.add(each_to_each(4), 1);
  all.add(one, 2);
  all.add(one, 3);
  EXPECT_DOUBLE_EQ(all.out_bytes(3), 15);
  EXPECT_DOUBLE_EQ(all.fabric_seconds(), 5 * one.fabric_seconds());
}

TEST(LinkLoads, AreNotCountedForTooManyGroups) {
  Network n = network(Topology::dragonfly);
  n.routers = n.router_nodes = 1;
  EXPECT_THROW(LinkLoads(n, 5000), UserError);
}

TEST(LongestLatency, CountsRoutersBeyondTheFirst) {
  Network n = network(Topology::fat_tree);
  n.latency = 1;
  n.hop_latency = 0.25;
  EXPECT_DOUBLE_EQ(longest_latency(n, 2), 1);
  EXPECT_DOUBLE_EQ(longest_latency(n, 3), 1.5);
  n.topology = Topology::dragonfly;
  EXPECT_DOUBLE_EQ(longest_latency(n, 2), 1);
  EXPECT_DOUBLE_EQ(longest_latency(n, 6), 1.25);
  EXPECT_DOUBLE_EQ(longest_latency(n, 7), 1.75);
  n.topology = Topology::torus;
  n.torus = {4, 6};
  EXPECT_DOUBLE_EQ(longest_latency(n, 24), 2);  // 2 + 3 hops
}

}  // namespace
}  // namespace pleiad::sim
