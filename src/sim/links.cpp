#include "pleiad/sim/links.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {

namespace {

constexpr i64 k_most_groups = 4096, k_longest_axis = 4096;

using Factors = std::vector<double>;  // [Q]

double dot(const double* a, const double* b, i64 n) { return std::inner_product(a, a + n, b, 0.0); }
double dot(const Factors& a, const Factors& b) { return dot(a.data(), b.data(), static_cast<i64>(a.size())); }

void add_to(Factors& a, const double* b) {
  for (std::size_t p = 0; p < a.size(); ++p) a[p] += b[p];
}

/// Sums over runs of `each` nodes of the network.
std::vector<Factors> sums_of_runs(const Flow& flow, const std::vector<double>& factors, i64 each, i64 runs) {
  std::vector<Factors> sums(static_cast<std::size_t>(runs), Factors(static_cast<std::size_t>(flow.profiles), 0.0));
  for (i64 n = 0; n < flow.nodes; ++n) add_to(sums[static_cast<std::size_t>((flow.first_node + n) / each)], factors.data() + n * flow.profiles);
  return sums;
}

Factors total(const std::vector<Factors>& all) {
  Factors sum(all.front().size(), 0.0);
  for (const Factors& f : all) add_to(sum, f.data());
  return sum;
}

i64 product(const std::vector<i64>& extents) { return std::accumulate(extents.begin(), extents.end(), i64{1}, std::multiplies<>()); }

}  // namespace

void add_pairs(const Flow& f, double unit, i64 places, i64 each, std::vector<double>& bytes) {
  for (i64 a = 0; a < f.nodes; ++a) {
    for (i64 b = 0; b < f.nodes; ++b) {
      if ((f.first_node + a) / each == (f.first_node + b) / each) continue;
      bytes[(f.first_node + a) * places + f.first_node + b] += unit * dot(f.from.data() + a * f.profiles, f.to.data() + b * f.profiles, f.profiles);
    }
  }
}

LinkLoads::LinkLoads(const Network& network, i64 nodes) : network_(network), nodes_(nodes) {
  const auto links = [](double bandwidth, i64 count) { return Kind{bandwidth, std::vector<double>(static_cast<std::size_t>(count), 0.0)}; };
  kinds_ = {links(network.nic_bandwidth, nodes), links(network.nic_bandwidth, nodes)};
  if (nodes == 1) return;
  if (network.topology == Topology::fat_tree) {
    groups_ = (nodes + network.leaf_nodes - 1) / network.leaf_nodes;
    const double up = static_cast<double>(network.leaf_nodes) * network.nic_bandwidth / network.oversubscription;
    kinds_.insert(kinds_.end(), {links(up, groups_), links(up, groups_)});
  } else if (network.topology == Topology::dragonfly) {
    const i64 each = network.routers * network.router_nodes;
    groups_ = (nodes + each - 1) / each;
    if (groups_ > k_most_groups || network.routers > k_most_groups) {
      user_error("network.routers_per_group = {} and nodes_per_router = {}: {} nodes would be {} groups; at most {} groups and routers are counted", network.routers, network.router_nodes, nodes, groups_,
                 k_most_groups);
    }
    kinds_.insert(kinds_.end(), {links(network.local_bandwidth, groups_ * network.routers * network.routers), links(network.global_bandwidth, groups_ * groups_)});
  } else if (network.topology == Topology::torus) {
    const i64 longest = *std::ranges::max_element(network.torus);
    if (longest > k_longest_axis) user_error("network.torus = {}: axes of at most {} nodes are counted", fmt::join(network.torus, ","), k_longest_axis);
    for (std::size_t a = 0; a < network.torus.size(); ++a) kinds_.push_back(links(network.link_bandwidth, 2 * product(network.torus)));
  }
}

void LinkLoads::add(const Flow& flow, double bytes) {
  PLEIAD_CHECK(flow.first_node + flow.nodes <= nodes_, "nodes {} to {} of {}", flow.first_node, flow.first_node + flow.nodes, nodes_);
  const i64 q = flow.profiles;
  const Factors all_from = total(sums_of_runs(flow, flow.from, nodes_, 1)), all_to = total(sums_of_runs(flow, flow.to, nodes_, 1));
  for (i64 n = 0; n < flow.nodes; ++n) {
    const double *from = flow.from.data() + n * q, *to = flow.to.data() + n * q, itself = dot(from, to, q);
    kinds_[0].bytes[flow.first_node + n] += bytes * std::max(0.0, dot(from, all_to.data(), q) - itself);
    kinds_[1].bytes[flow.first_node + n] += bytes * std::max(0.0, dot(all_from.data(), to, q) - itself);
  }
  if (nodes_ == 1) return;
  if (network_.topology == Topology::fat_tree) add_fat_tree(flow, bytes);
  if (network_.topology == Topology::dragonfly) add_dragonfly(flow, bytes);
  if (network_.topology == Topology::torus) add_torus(flow, bytes);
}

void LinkLoads::add_fat_tree(const Flow& flow, double bytes) {
  const std::vector<Factors> from = sums_of_runs(flow, flow.from, network_.leaf_nodes, groups_), to = sums_of_runs(flow, flow.to, network_.leaf_nodes, groups_);
  const Factors all_from = total(from), all_to = total(to);
  for (std::size_t l = 0; l < from.size(); ++l) {
    const double inside = dot(from[l], to[l]);
    kinds_[2].bytes[l] += bytes * std::max(0.0, dot(from[l], all_to) - inside);
    kinds_[3].bytes[l] += bytes * std::max(0.0, dot(all_from, to[l]) - inside);
  }
}

// The link between groups g and h is at router h mod R of g and at router g mod R of h.
void LinkLoads::add_dragonfly(const Flow& flow, double bytes) {
  const i64 routers = network_.routers, each = network_.router_nodes;
  const std::vector<Factors> from = sums_of_runs(flow, flow.from, each, groups_ * routers), to = sums_of_runs(flow, flow.to, each, groups_ * routers);
  const std::vector<Factors> group_from = sums_of_runs(flow, flow.from, each * routers, groups_), group_to = sums_of_runs(flow, flow.to, each * routers, groups_);
  const Factors nothing(static_cast<std::size_t>(flow.profiles), 0.0);
  for (i64 g = 0; g < groups_; ++g) {
    // What leaves for, and comes from, other groups by each router.
    std::vector<Factors> leaves(static_cast<std::size_t>(routers), nothing), comes = leaves;
    for (i64 h = 0; h < groups_; ++h) {
      if (h == g) continue;
      kinds_[3].bytes[g * groups_ + h] += bytes * dot(group_from[g], group_to[h]);
      add_to(leaves[h % routers], group_to[h].data());
      add_to(comes[h % routers], group_from[h].data());
    }
    for (i64 i = 0; i < routers; ++i) {
      for (i64 j = 0; j < routers; ++j) {
        if (i == j) continue;
        const Factors &here = from[g * routers + i], &there = to[g * routers + j];
        kinds_[2].bytes[(g * routers + i) * routers + j] += bytes * (dot(here, there) + dot(here, leaves[j]) + dot(comes[i], there));
      }
    }
  }
}

// Along axis a a message has the coordinates of its target on the axes before a and those of its sender on a and after it. So senders are summed over the axes before a, and
// targets over those after it.
void LinkLoads::add_torus(const Flow& flow, double bytes) {
  const i64 places = product(network_.torus);
  std::vector<Factors> from = sums_of_runs(flow, flow.from, 1, places);
  i64 outer = 1, inner = places;  // places on the axes before a; on a and after it
  for (std::size_t a = 0; a < network_.torus.size(); ++a) {
    const i64 extent = network_.torus[a], rest = inner / extent;
    const std::vector<Factors> to = sums_of_runs(flow, flow.to, rest, outer * extent);
    std::vector<Factors> next(static_cast<std::size_t>(rest), Factors(static_cast<std::size_t>(flow.profiles), 0.0));
    std::vector<double> forward(static_cast<std::size_t>(extent + 1)), backward(forward.size());
    for (i64 o = 0; o < outer; ++o) {
      for (i64 r = 0; r < rest; ++r) {
        // Each message adds 1 where it begins and takes it away where it ends: sums along the ring are the loads.
        std::ranges::fill(forward, 0.0), std::ranges::fill(backward, 0.0);
        const auto run = [&](std::vector<double>& ring, i64 begin, i64 hops, double amount) {  // over links begin .. begin + hops - 1, around the end
          const i64 end = begin + hops;
          ring[begin] += amount;
          ring[std::min(end, extent)] -= amount;
          if (end > extent) ring[0] += amount, ring[end - extent] -= amount;
        };
        for (i64 x = 0; x < extent; ++x) {
          for (i64 y = 0; y < extent; ++y) {
            const i64 hops = (y - x + extent) % extent;
            if (hops == 0) continue;
            const double amount = bytes * dot(from[x * rest + r], to[o * extent + y]), half = 2 * hops == extent ? 0.5 : 1;
            if (2 * hops <= extent) run(forward, x, hops, half * amount);
            if (2 * hops >= extent) run(backward, (y + 1) % extent, extent - hops, half * amount);  // links are counted at their upper node
          }
        }
        double up = 0, down = 0;
        for (i64 x = 0; x < extent; ++x) {
          const std::size_t link = static_cast<std::size_t>(2 * ((o * extent + x) * rest + r));
          kinds_[2 + a].bytes[link] += up += forward[x];
          kinds_[2 + a].bytes[link + 1] += down += backward[x];
        }
      }
    }
    for (i64 x = 0; x < extent; ++x) {
      for (i64 r = 0; r < rest; ++r) add_to(next[r], from[x * rest + r].data());
    }
    from = std::move(next);
    outer *= extent;
    inner = rest;
  }
}

void LinkLoads::add(const LinkLoads& other, double times) {
  for (std::size_t k = 0; k < kinds_.size(); ++k) {
    for (std::size_t i = 0; i < kinds_[k].bytes.size(); ++i) kinds_[k].bytes[i] += times * other.kinds_[k].bytes[i];
  }
}

double LinkLoads::node_seconds(i64 node) const { return nodes_ == 1 ? 0 : std::max(out_bytes(node), in_bytes(node)) / network_.nic_bandwidth; }

double LinkLoads::fabric_seconds() const {
  double longest = 0;
  for (std::size_t k = 2; k < kinds_.size(); ++k) longest = std::max(longest, *std::ranges::max_element(kinds_[k].bytes) / kinds_[k].bandwidth);
  return longest;
}

std::vector<LinkLoads::Link> LinkLoads::busiest(i64 count) const {
  struct Place {
    double seconds;
    std::size_t kind, link;
  };
  std::vector<Place> all;
  for (std::size_t k = 0; k < kinds_.size(); ++k) {
    for (std::size_t i = 0; i < kinds_[k].bytes.size(); ++i) {
      if (kinds_[k].bytes[i] > 0) all.push_back({kinds_[k].bytes[i] / kinds_[k].bandwidth, k, i});
    }
  }
  const std::size_t n = std::min(all.size(), static_cast<std::size_t>(count));
  std::ranges::partial_sort(all, all.begin() + static_cast<std::ptrdiff_t>(n), [](const Place& a, const Place& b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : std::pair(a.kind, a.link) < std::pair(b.kind, b.link);
  });
  std::vector<Link> links;
  for (std::size_t i = 0; i < n; ++i) links.push_back({name_of(all[i].kind, all[i].link), kinds_[all[i].kind].bytes[all[i].link], all[i].seconds});
  return links;
}

std::string LinkLoads::name_of(std::size_t kind, std::size_t link) const {
  if (kind < 2) return fmt::format("node {} {}", link, kind == 0 ? "out" : "in");
  const std::size_t routers = static_cast<std::size_t>(network_.routers), groups = static_cast<std::size_t>(groups_);
  if (network_.topology == Topology::fat_tree) return fmt::format("leaf {} {}", link, kind == 2 ? "up" : "down");
  if (network_.topology == Topology::torus) return fmt::format("node {} along axis {}, {}", link / 2, kind - 2, link % 2 == 0 ? "up" : "down");
  if (kind == 2) return fmt::format("group {}, router {} to {}", link / routers / routers, link / routers % routers, link % routers);
  return fmt::format("group {} to group {}", link / groups, link % groups);
}

double longest_latency(const Network& network, i64 nodes) {
  double hops = 0;
  if (network.topology == Topology::fat_tree) hops = nodes > network.leaf_nodes ? 2 : 0;
  if (network.topology == Topology::dragonfly) hops = nodes > network.routers * network.router_nodes ? 3 : nodes > network.router_nodes ? 1 : 0;
  if (network.topology == Topology::torus) {
    for (const i64 extent : network.torus) hops += static_cast<double>(extent / 2);
    hops = std::max(0.0, hops - 1);
  }
  return network.latency + hops * network.hop_latency;
}

}  // namespace pleiad::sim
