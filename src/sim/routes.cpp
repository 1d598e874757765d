#include "pleiad/sim/routes.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {

Routes::Routes(const Network& n, i64 nodes) : network_(n), nodes_(nodes), bandwidths_(static_cast<std::size_t>(2 * nodes), n.nic_bandwidth) {
  const auto links = [&](i64 count, double bandwidth) {
    const i64 first = static_cast<i64>(bandwidths_.size());
    bandwidths_.insert(bandwidths_.end(), static_cast<std::size_t>(count), bandwidth);
    return first;
  };
  if (n.topology == Topology::fat_tree) {
    groups_ = (nodes + n.leaf_nodes - 1) / n.leaf_nodes;
    local_ = links(2 * groups_, static_cast<double>(n.leaf_nodes) * n.nic_bandwidth / n.oversubscription);
  } else if (n.topology == Topology::dragonfly) {
    const i64 each = n.routers * n.router_nodes;
    groups_ = (nodes + each - 1) / each;
    local_ = links(groups_ * n.routers * n.routers, n.local_bandwidth);
    global_ = links(groups_ * groups_, n.global_bandwidth);
  } else if (n.topology == Topology::torus) {
    i64 places = 1;
    for (const i64 extent : n.torus) places *= extent;
    local_ = links(2 * places * static_cast<i64>(n.torus.size()), n.link_bandwidth);
  }
}

std::vector<Route> Routes::between(i64 from, i64 to) const {
  PLEIAD_CHECK(from != to && from < nodes_ && to < nodes_, "nodes {} and {} of {}", from, to, nodes_);
  std::vector<Route> routes(1);
  std::vector<i64>& links = routes[0].links;
  links.push_back(from);
  if (network_.topology == Topology::fat_tree) {
    const i64 up = from / network_.leaf_nodes, down = to / network_.leaf_nodes;
    if (up != down) links.insert(links.end(), {local_ + up, local_ + groups_ + down});
  } else if (network_.topology == Topology::dragonfly) {
    const i64 routers = network_.routers, each = routers * network_.router_nodes, g = from / each, h = to / each, target = to / network_.router_nodes % routers;
    i64 at = from / network_.router_nodes % routers;
    const auto go = [&](i64 group, i64 router) {
      if (at != router) links.push_back(local_ + (group * routers + at) * routers + router);
      at = router;
    };
    if (g != h) {
      go(g, h % routers);
      links.push_back(global_ + g * groups_ + h);
      at = g % routers;
    }
    go(h, target);
  } else if (network_.topology == Topology::torus) {
    add_torus(routes, from, to);
  }
  for (Route& r : routes) r.links.push_back(nodes_ + to);
  return routes;
}

// Link 2 (places a + node) leads from a node up along axis a, the next one down.
void Routes::add_torus(std::vector<Route>& routes, i64 from, i64 to) const {
  i64 places = 1;
  for (const i64 extent : network_.torus) places *= extent;
  i64 weight = places, at = from;
  for (std::size_t a = 0; a < network_.torus.size(); ++a) {
    const i64 extent = network_.torus[a], outer = weight;
    weight /= extent;
    const i64 x = at % outer / weight, y = to % outer / weight, up = (y - x + extent) % extent, down = extent - up;
    if (up == 0) continue;
    const auto walk = [&](Route& r, i64 hops, i64 direction) {
      for (i64 i = 0; i < hops; ++i) {
        const i64 node = at + (((x + direction * i) % extent + extent) % extent - x) * weight;
        r.links.push_back(local_ + 2 * (places * static_cast<i64>(a) + node) + (direction > 0 ? 0 : 1));
      }
    };
    std::vector<Route> next;
    for (const Route& r : routes) {
      for (const i64 direction : {1, -1}) {
        const i64 hops = direction > 0 ? up : down;
        if (hops > extent - hops) continue;
        Route one = r;
        if (2 * hops == extent) one.share /= 2;
        walk(one, hops, direction);
        next.push_back(std::move(one));
      }
    }
    routes = std::move(next);
    at += (y - x) * weight;
  }
}

}  // namespace pleiad::sim
