#include "pleiad/sim/engine.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/sim/routes.hpp"

namespace pleiad::sim {

namespace {

// Networks up to so many nodes are looked at pair by pair, and of their links the busiest ones.
constexpr i64 k_most_nodes_by_pairs = 256;
constexpr std::size_t k_links = 4;

/// What a node has on a link: bytes, flows, and how fast its interface lets them go.
struct User {
  double bytes = 0, flows = 0, most = 0;
};

/// Until a link is done that gives all flows the same rate, but no node more than its interface has for them.
double seconds_of_link(std::vector<User> users, double bandwidth) {
  double now = 0;
  std::erase_if(users, [](const User& u) { return u.bytes <= 0; });
  while (!users.empty()) {
    // The first to be full are those whose interface gives least for each flow.
    std::ranges::sort(users, {}, [](const User& u) { return u.most / u.flows; });
    double left = bandwidth, flows = 0, step = HUGE_VAL;
    for (const User& u : users) flows += u.flows;
    std::vector<double> rates;
    for (const User& u : users) {
      rates.push_back(std::min(u.most, left * u.flows / flows));
      left -= rates.back();
      flows -= u.flows;
      step = std::min(step, u.bytes / rates.back());
    }
    now += step;
    for (std::size_t i = 0; i < users.size(); ++i) users[i].bytes -= rates[i] * step;
    std::erase_if(users, [&](const User& u) { return u.bytes <= 1e-6 * u.most * now; });
  }
  return now;
}

/// The busiest links between switches, each with its users. Where they are not alike, a link is busy for longer than its bytes take: in the end it serves a few nodes only, which their interfaces slow down.
class Fabric {
 public:
  Fabric(const Cluster& cluster, std::span<const Transfer> transfers, const LinkLoads& loads) : nodes_(cluster.nodes), nic_(cluster.network.nic_bandwidth), routes_(cluster.network, cluster.nodes), loads_(loads) {
    bytes_.assign(static_cast<std::size_t>(nodes_ * nodes_), 0.0);
    for (const Transfer& t : transfers) add_pairs(*t.flow, t.bytes, nodes_, 1, bytes_);
  }

  double seconds() const {
    struct Way {
      i64 from, to;
      double bytes;
      std::size_t begin, end;  // of its links
    };
    std::vector<Way> ways;
    std::vector<i64> links;
    std::vector<double> load(routes_.bandwidths().size(), 0.0);
    for (i64 a = 0; a < nodes_; ++a) {
      for (i64 b = 0; b < nodes_; ++b) {
        const double bytes = bytes_[a * nodes_ + b];
        if (bytes <= 0) continue;
        for (const Route& r : routes_.between(a, b)) {
          for (const i64 l : r.links) load[l] += bytes * r.share / routes_.bandwidths()[l];
          links.insert(links.end(), r.links.begin() + 1, r.links.end() - 1);
          ways.push_back({a, b, bytes * r.share, links.size() - (r.links.size() - 2), links.size()});
        }
      }
    }
    std::vector<i64> order(load.size() - static_cast<std::size_t>(2 * nodes_));  // links between switches; the busiest come first and stay
    std::iota(order.begin(), order.end(), 2 * nodes_);
    const std::size_t followed = std::min(k_links, order.size());
    std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(followed), std::greater<>(), [&](i64 l) { return load[l]; });
    order.resize(followed);
    const std::vector<User> nobody(static_cast<std::size_t>(nodes_));
    std::vector<std::vector<User>> senders(order.size(), nobody), receivers(senders);
    std::vector<i64> place(load.size(), -1);
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<i64>(i);
    for (const Way& w : ways) {
      for (std::size_t l = w.begin; l < w.end; ++l) {
        if (const i64 i = place[links[l]]; i >= 0) {
          for (User* u : {&senders[i][w.from], &receivers[i][w.to]}) u->bytes += w.bytes, ++u->flows;
        }
      }
    }
    double longest = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      for (i64 n = 0; n < nodes_; ++n) {  // an interface divides itself by bytes
        if (senders[i][n].bytes > 0) senders[i][n].most = nic_ * senders[i][n].bytes / loads_.out_bytes(n);
        if (receivers[i][n].bytes > 0) receivers[i][n].most = nic_ * receivers[i][n].bytes / loads_.in_bytes(n);
      }
      const double bandwidth = routes_.bandwidths()[order[i]];
      longest = std::max({longest, seconds_of_link(std::move(senders[i]), bandwidth), seconds_of_link(std::move(receivers[i]), bandwidth)});
    }
    return longest;
  }

 private:
  i64 nodes_;
  double nic_;
  Routes routes_;
  const LinkLoads& loads_;
  std::vector<double> bytes_;  // [nodes x nodes]
};

// Between nodes every one talks to every other, so whoever shares the busiest link waits for it, and nobody knows who does not.
class Analytic : public Engine {
 public:
  const char* name() const override { return "analytic"; }
  std::vector<double> carry(const Cluster& cluster, std::span<const Transfer> transfers, const LinkLoads& loads) const override {
    double fabric = loads.fabric_seconds();
    std::vector<double> seconds;
    for (i64 n = 0; n < cluster.nodes; ++n) seconds.push_back(std::max(loads.node_seconds(n), fabric));
    if (fabric == 0 || cluster.nodes > k_most_nodes_by_pairs) return seconds;
    // Too early by what is waited for at interfaces, and too late where these divide themselves better: the truth lies between both.
    const double busiest = std::ranges::max(seconds);
    fabric = (busiest + std::max(busiest, Fabric(cluster, transfers, loads).seconds())) / 2;
    if (fabric > busiest) std::ranges::fill(seconds, fabric);
    return seconds;
  }
};

}  // namespace

std::vector<std::string> engine_names() { return {"analytic", "simgrid"}; }

std::unique_ptr<Engine> make_engine(const std::string& name) {
  if (name == "simgrid") return make_simgrid_engine();
  if (name != "analytic") user_error("--engine {}: must be one of {}", name, fmt::join(engine_names(), ", "));
  return std::make_unique<Analytic>();
}

}  // namespace pleiad::sim
