// The engine `simgrid`: every pair of nodes, or of ranks, is a flow, and pleiad_flows (main.cpp) lets SimGrid share the links among them.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <utility>

#include "pleiad/core/error.hpp"
#include "pleiad/core/temporary_folder.hpp"
#include "pleiad/sim/engine.hpp"
#include "pleiad/sim/routes.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace pleiad::sim {

namespace {

namespace fs = std::filesystem;

constexpr i64 k_most_flow_nodes = 1024;
constexpr std::size_t k_most_remembered = 16;
// What SimGrid simulates takes about so long; flows that end within 1/500 of that end at once, which is many times faster and changes the end by less than that.
constexpr double k_simulated = 5e-3, k_precision = 1e-5;
// More flows take SimGrid minutes. Where there are more, those between two nodes are put together, as many of alike size as that takes, so that all flows keep their equal rights.
constexpr std::size_t k_most_flows = 1 << 14;
// Of the slowest link: SimGrid knows whole bytes.
constexpr double k_slowest = 1e12;

std::string flows_program() {
  if (const char* given = std::getenv("PLEIAD_FLOWS")) return given;
  return (fs::read_symlink("/proc/self/exe").parent_path() / "pleiad_flows").string();
}

/// The exit code of the program, its three streams files of the folder.
int run_program(const std::string& program, const TemporaryFolder& folder) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, folder.file("problem").c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, folder.file("answer").c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, folder.file("errors").c_str(), O_WRONLY | O_CREAT, 0600);
  std::string name = program;
  const std::array<char*, 2> arguments = {name.data(), nullptr};
  pid_t child = 0;
  const int problem = posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (problem != 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/// Bytes from place to place, a place being a node or a rank.
struct Pairs {
  i64 places = 0, each = 1;  // of a node
  std::vector<double> bytes;
  double most = 0;
};

Pairs pairs_of(const Cluster& cluster, std::span<const Transfer> transfers) {
  const bool ranks = std::ranges::all_of(transfers, [](const Transfer& t) { return t.ranks != nullptr && !t.ranks->from.empty(); }) && cluster.ranks() <= k_most_rank_pairs;
  Pairs p{ranks ? cluster.ranks() : cluster.nodes, ranks ? cluster.ranks_per_node : 1, {}};
  p.bytes.assign(static_cast<std::size_t>(p.places * p.places), 0.0);
  for (const Transfer& t : transfers) add_pairs(ranks ? *t.ranks : *t.flow, t.bytes, p.places, p.each, p.bytes);
  for (const double b : p.bytes) p.most = std::max(p.most, b);
  return p;
}

class Simgrid : public Engine {
 public:
  explicit Simgrid(std::string program) : program_(std::move(program)) {}
  const char* name() const override { return "simgrid"; }

  std::vector<double> carry(const Cluster& cluster, std::span<const Transfer> transfers, const LinkLoads&) const override {
    if (cluster.nodes > k_most_flow_nodes) user_error("--engine simgrid: follows every pair of nodes, {} at most; this cluster has {}", k_most_flow_nodes, cluster.nodes);
    Pairs pairs = pairs_of(cluster, transfers);
    if (pairs.most == 0) return std::vector<double>(static_cast<std::size_t>(cluster.nodes), 0.0);
    for (double& b : pairs.bytes) b /= pairs.most;
    const Routes routes(cluster.network, cluster.nodes);
    const std::vector<double>* known = find(cluster.network, pairs, routes.symmetric());
    if (known == nullptr) {
      if (remembered_.size() == k_most_remembered) remembered_.pop_front();
      std::vector<double> seconds = simulate(cluster, pairs, routes);
      remembered_.push_back({cluster.network, pairs, std::move(seconds)});
      known = &remembered_.back().seconds;
    }
    std::vector<double> seconds = *known;
    for (double& s : seconds) s *= pairs.most;
    return seconds;
  }

 private:
  struct Remembered {
    Network network;
    Pairs pairs;  // the most of them 1
    std::vector<double> seconds;
  };
  std::string program_;
  mutable std::deque<Remembered> remembered_;

  /// Layers, passes and what travels often differ in nothing but size, or in direction.
  const std::vector<double>* find(const Network& network, const Pairs& p, bool either_way) const {
    const auto same = [&](const Pairs& q, bool turned) {
      for (i64 a = 0; a < p.places; ++a) {
        for (i64 b = 0; b < p.places; ++b) {
          const double x = p.bytes[static_cast<std::size_t>(a * p.places + b)], y = q.bytes[static_cast<std::size_t>(turned ? b * p.places + a : a * p.places + b)];
          if (std::abs(x - y) > 1e-6) return false;
        }
      }
      return true;
    };
    for (const Remembered& r : remembered_) {
      if (r.pairs.places == p.places && r.pairs.each == p.each && r.network == network && (same(r.pairs, false) || (either_way && same(r.pairs, true)))) return &r.seconds;
    }
    return nullptr;
  }

  struct OneFlow {
    i64 from, to;  // nodes
    double bytes;
    std::size_t route = 0;
  };

  /// Those between one pair of nodes after the other.
  static std::vector<OneFlow> flows_of(const Pairs& pairs, i64 nodes) {
    std::vector<std::vector<double>> sizes(static_cast<std::size_t>(nodes * nodes));
    std::size_t count = 0, used = 0;
    for (i64 a = 0; a < pairs.places; ++a) {
      for (i64 b = 0; b < pairs.places; ++b) {
        const double bytes = pairs.bytes[static_cast<std::size_t>(a * pairs.places + b)];
        if (bytes <= 0) continue;
        auto& of_pair = sizes[static_cast<std::size_t>(a / pairs.each * nodes + b / pairs.each)];
        used += of_pair.empty() ? 1 : 0;
        of_pair.push_back(bytes);
        ++count;
      }
    }
    const std::size_t most = count <= k_most_flows ? count : std::max<std::size_t>(1, k_most_flows / used);
    std::vector<OneFlow> flows;
    for (std::size_t pair = 0; pair < sizes.size(); ++pair) {
      std::vector<double>& of_pair = sizes[pair];
      std::ranges::sort(of_pair);
      const std::size_t classes = std::min(most, of_pair.size());
      for (std::size_t c = 0; c < classes; ++c) {
        flows.push_back({static_cast<i64>(pair) / nodes, static_cast<i64>(pair) % nodes, 0});
        for (std::size_t i = c * of_pair.size() / classes; i < (c + 1) * of_pair.size() / classes; ++i) flows.back().bytes += of_pair[i];
      }
    }
    return flows;
  }

  std::vector<double> simulate(const Cluster& cluster, const Pairs& pairs, const Routes& routes) const {
    std::vector<Route> all, here;
    std::vector<OneFlow> flows;
    std::vector<double> load(routes.bandwidths().size(), 0.0);
    i64 from = -1, to = -1;
    for (const OneFlow& f : flows_of(pairs, cluster.nodes)) {
      if (f.from != from || f.to != to) {
        here = routes.between(from = f.from, to = f.to);
        all.insert(all.end(), here.begin(), here.end());
      }
      for (std::size_t r = 0; r < here.size(); ++r) {
        flows.push_back({f.from, f.to, f.bytes * here[r].share, all.size() - here.size() + r});
        for (const i64 l : here[r].links) load[static_cast<std::size_t>(l)] += flows.back().bytes / routes.bandwidths()[static_cast<std::size_t>(l)];
      }
    }
    // Times in which the busiest link is done in k_simulated, bandwidths that make whole bytes fine enough.
    const double faster = k_slowest / std::ranges::min(routes.bandwidths()), bytes_scale = faster * k_simulated / std::ranges::max(load);
    std::string problem = fmt::format("{}\n{}\n", k_precision, routes.bandwidths().size());
    const auto out = std::back_inserter(problem);
    for (const double b : routes.bandwidths()) fmt::format_to(out, "{:.12g} ", faster * b);
    fmt::format_to(out, "\n{}\n", all.size());
    for (const Route& r : all) fmt::format_to(out, "{} {}\n", r.links.size(), fmt::join(r.links, " "));
    fmt::format_to(out, "{}\n", flows.size());
    for (const OneFlow& f : flows) fmt::format_to(out, "{} {:.12g}\n", f.route, bytes_scale * f.bytes);
    const std::vector<double> ends = answer_of(problem, flows.size());
    std::vector<double> seconds(static_cast<std::size_t>(cluster.nodes), 0.0);
    for (std::size_t f = 0; f < flows.size(); ++f) {
      for (const i64 n : {flows[f].from, flows[f].to}) seconds[static_cast<std::size_t>(n)] = std::max(seconds[static_cast<std::size_t>(n)], ends[f] * faster / bytes_scale);
    }
    return seconds;
  }

  std::vector<double> answer_of(const std::string& problem, std::size_t flows) const {
    const TemporaryFolder folder;
    std::ofstream(folder.file("problem")) << problem;
    const int code = run_program(program_, folder);
    std::vector<double> ends;
    std::ifstream answer(folder.file("answer"));
    for (double end = 0; answer >> end;) ends.push_back(end);
    if (code != 0 || ends.size() != flows) {
      std::string line;
      std::getline(std::ifstream(folder.file("errors")) >> std::ws, line);
      user_error("--engine simgrid: {} failed{}{}", program_, line.empty() ? "" : ": ", line);
    }
    return ends;
  }
};

}  // namespace

std::unique_ptr<Engine> make_simgrid_engine() {
  std::string program = flows_program();
  if (access(program.c_str(), X_OK) != 0) {
    user_error("--engine simgrid: {} is not there; it is built with Pleiad where CMake finds SimGrid (Debian package libsimgrid-dev)", program);
  }
  return std::make_unique<Simgrid>(std::move(program));
}

}  // namespace pleiad::sim
