#include "pleiad/sim/engine.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"

namespace pleiad::sim {

namespace {

// Between nodes every one talks to every other, so whoever shares the busiest link waits for it, and nobody knows who does not.
class Analytic : public Engine {
 public:
  const char* name() const override { return "analytic"; }
  std::vector<double> carry(const Cluster& cluster, std::span<const Transfer>, const LinkLoads& loads) const override {
    const double fabric = loads.fabric_seconds();
    std::vector<double> seconds;
    for (i64 n = 0; n < cluster.nodes; ++n) seconds.push_back(std::max(loads.node_seconds(n), fabric));
    return seconds;
  }
};

}  // namespace

std::vector<std::string> engine_names() { return {"analytic"}; }

std::unique_ptr<Engine> make_engine(const std::string& name) {
  if (name != "analytic") user_error("--engine {}: must be one of {}", name, fmt::join(engine_names(), ", "));
  return std::make_unique<Analytic>();
}

}  // namespace pleiad::sim
