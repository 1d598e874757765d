// pleiad_flows: how long flows take that share links, by SimGrid; `pleiad simulate --engine simgrid` starts it (simgrid_engine.cpp). A program of its own, because SimGrid's library brings
// functions named as those of MPI. Reads from standard input, numbers in between blanks:
//     PRECISION                     seconds: flows that end closer together end at once
//     LINKS    bandwidth...         bytes per second, one way
//     ROUTES   count link...        for each route how many links, and which
//     FLOWS    route bytes          for each flow
// and writes for each flow the second when it ends. All begin at 0. There is no latency; flows share a link fairly (CM02).
#include <simgrid/s4u.hpp>

#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>

namespace pleiad::sim {

namespace {

namespace s4u = simgrid::s4u;

struct Problem {
  struct OneFlow {
    std::size_t route;
    double bytes;
  };
  double precision = 0;
  std::vector<double> bandwidths;
  std::vector<std::vector<std::size_t>> routes;
  std::vector<OneFlow> flows;
};

template <class T>
T next() {
  T value;
  if (!(std::cin >> value)) throw std::runtime_error("the input ends too early, or is no number");
  return value;
}

std::size_t next_below(std::size_t end) {
  const std::size_t i = next<std::size_t>();
  if (i >= end) throw std::runtime_error("an index is too large");
  return i;
}

Problem read_problem() {
  Problem p;
  p.precision = next<double>();
  p.bandwidths.resize(next<std::size_t>());
  for (double& b : p.bandwidths) b = next<double>();
  p.routes.resize(next<std::size_t>());
  for (auto& route : p.routes) {
    route.resize(next<std::size_t>());
    for (std::size_t& link : route) link = next_below(p.bandwidths.size());
  }
  p.flows.resize(next<std::size_t>());
  for (auto& flow : p.flows) {
    flow.route = next_below(p.routes.size());
    flow.bytes = next<double>();
  }
  return p;
}

/// Routes lead from one row of hosts to another one, since SimGrid knows one way between two hosts.
class Platform {
 public:
  explicit Platform(const Problem& p) : zone_(s4u::create_full_zone("network")), side_(1) {
    while (side_ * side_ < p.routes.size()) ++side_;
    for (std::size_t i = 0; i < 2 * side_; ++i) hosts_.push_back(zone_->create_host(std::to_string(i), 1e9)->seal());
    std::vector<const s4u::Link*> links;
    for (std::size_t l = 0; l < p.bandwidths.size(); ++l) links.push_back(zone_->create_link("l" + std::to_string(l), p.bandwidths[l])->set_latency(0)->seal());
    for (std::size_t r = 0; r < p.routes.size(); ++r) {
      std::vector<s4u::LinkInRoute> on_it;
      for (const std::size_t l : p.routes[r]) on_it.emplace_back(links[l]);
      zone_->add_route(from(r)->get_netpoint(), to(r)->get_netpoint(), nullptr, nullptr, on_it, false);
    }
    zone_->seal();
  }
  s4u::Host* from(std::size_t route) const { return hosts_[route / side_]; }
  s4u::Host* to(std::size_t route) const { return hosts_[side_ + route % side_]; }

 private:
  s4u::NetZone* zone_;
  std::size_t side_;
  std::vector<s4u::Host*> hosts_;
};

int run(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const Problem p = read_problem();
  s4u::Engine engine(&argc, argv);
  s4u::Engine::set_config("network/model:CM02");
  s4u::Engine::set_config("network/crosstraffic:0");
  s4u::Engine::set_config("network/TCP-gamma:0");
  s4u::Engine::set_config("surf/precision:" + std::to_string(p.precision));
  const Platform platform(p);
  std::vector<s4u::CommPtr> flows(p.flows.size());
  s4u::Actor::create("flows", platform.from(0), [&] {
    for (std::size_t f = 0; f < flows.size(); ++f) {
      flows[f] = s4u::Comm::sendto_async(platform.from(p.flows[f].route), platform.to(p.flows[f].route), static_cast<std::uint64_t>(p.flows[f].bytes));
    }
    s4u::Comm::wait_all(flows);
  });
  engine.run();
  for (const auto& flow : flows) std::printf("%.9g\n", flow->get_finish_time());
  return 0;
}

}  // namespace

}  // namespace pleiad::sim

int main(int argc, char** argv) {
  try {
    return pleiad::sim::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pleiad_flows: %s\n", error.what());
    return 2;
  }
}
