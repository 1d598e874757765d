// pleiad simulate search: which grouping, exchange, placement and chunks are predicted to be the fastest.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "pleiad/app/simulation.hpp"
#include "pleiad/app/terminal.hpp"
#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/exchange/choice.hpp"
#include "pleiad/io/small_file.hpp"
#include "pleiad/report/table.hpp"

namespace pleiad::app {

namespace {

using exchange::Combine;

const char* const k_search_usage =
    "usage: pleiad simulate search --config MODEL.ini --cluster CLUSTER.ini --ranks N [--skew KIND | --routing routing.h5] [--out BEST.ini]\n"
    "Predicts a training step with every sensible way to group ranks, to send tokens and to place experts, and lists the fastest ones that memory allows\n"
    "(docs/simulate.md). One process.";

constexpr std::size_t k_most_groupings = 12, k_refined = 4;
constexpr double k_alike = 1e-3;
constexpr i64 k_chunks[] = {1, 2, 4, 8, 16, 32};

struct Candidate {
  sim::StepModel model;
  sim::Prediction prediction;
  double node_memory = 0;  ///< bytes of the fullest node
  /// As fast as each other is what differs by less than a prediction can tell; of these what was tried first, the simpler one, stays first.
  double rounded() const { return std::round(std::log(prediction.seconds) / k_alike); }
  bool alike(const Candidate& other) const {
    return rounded() == other.rounded() && model.data_groups == other.model.data_groups && model.exchange.kind == other.model.exchange.kind && model.exchange.combine == other.model.exchange.combine;
  }
  std::vector<std::string> settings() const {
    const char* const placements[] = {"block", "round_robin", "balanced"};
    return {fmt::format("parallel.data_groups={}", model.data_groups), "exchange.kind=" + model.exchange.kind, fmt::format("exchange.combine={}", model.exchange.combine == Combine::home ? "home" : "owner"),
            fmt::format("exchange.chunks={}", model.exchange.chunks == 0 ? "auto" : std::to_string(model.exchange.chunks)), fmt::format("moe.placement={}", placements[static_cast<std::size_t>(model.moe.placement)])};
  }
};

/// Numbers of data groups: divisors of the ranks, thinned out where there are many.
std::vector<i64> groupings(i64 ranks, bool experts) {
  std::vector<i64> all;
  for (i64 d = 1; d <= (experts ? ranks : 1); ++d) {
    if (ranks % d == 0) all.push_back(d);
  }
  std::vector<i64> some;
  const std::size_t apart = (all.size() + k_most_groupings - 1) / k_most_groupings;
  for (std::size_t i = 0; i < all.size(); i += apart) some.push_back(all[i]);
  return some;
}

double fullest_node(const sim::Prediction& p, const sim::Cluster& c) {
  std::vector<double> nodes(static_cast<std::size_t>(p.nodes), 0.0);
  for (std::size_t r = 0; r < p.memory.size(); ++r) nodes[static_cast<std::size_t>(c.node_of(static_cast<i64>(r)))] += p.memory[r].total();
  return std::ranges::max(nodes);
}

class Search {
 public:
  Search(const Simulation& simulation, i64 ranks) : simulation_(simulation), ranks_(ranks), machine_(simulation.cluster().with_ranks(ranks)) {}

  void run() {
    const sim::StepModel base = simulation_.model(ranks_);
    const bool experts = !base.moe.layers.empty();
    std::vector<sim::StepModel> first;
    for (const i64 groups : groupings(ranks_, experts)) {
      for (const std::string& kind : kinds(ranks_ / groups, experts)) {
        for (const Combine combine : {Combine::home, Combine::owner}) {
          if (kind == "local" && combine == Combine::owner) continue;  // nothing travels
          first.push_back(base);
          first.back().data_groups = groups;
          first.back().exchange.kind = kind;
          first.back().exchange.combine = combine;
          first.back().exchange.chunks = 0;
        }
      }
    }
    try_all(first);
    std::vector<sim::StepModel> second;
    for (std::size_t i = 0; i < std::min(k_refined, found_.size()); ++i) {
      const sim::StepModel& m = found_[i].model;
      for (const ExpertPlacement placement : {ExpertPlacement::block, ExpertPlacement::round_robin, ExpertPlacement::balanced}) {
        for (const i64 chunks : chunks_of(m)) {
          if (placement == m.moe.placement && chunks == m.exchange.chunks) continue;
          second.push_back(m);
          second.back().moe.placement = placement;
          second.back().exchange.chunks = chunks;
        }
      }
    }
    if (experts) try_all(second);
  }

  const std::vector<Candidate>& found() const { return found_; }  ///< the fastest first, those that fit
  i64 tried() const { return tried_; }
  i64 too_large() const { return too_large_; }
  double least_memory() const { return least_memory_; }

 private:
  static std::vector<std::string> kinds(i64 group_ranks, bool experts) {
    if (group_ranks == 1 || !experts) return {"local"};
    return {"all_to_all", "hierarchical", "gather"};
  }
  static std::vector<i64> chunks_of(const sim::StepModel& m) {
    const exchange::ChunksOf of = m.moe.bank == routing::Bank::feed_forward ? exchange::ChunksOf::experts : exchange::ChunksOf::tokens;
    std::vector<i64> chunks{0};
    if (m.exchange.kind != "local" && exchange::goes_in_chunks(exchange::kind_of(m.exchange.kind), of)) chunks.insert(chunks.end(), std::begin(k_chunks), std::end(k_chunks));
    return chunks;
  }

  void try_all(const std::vector<sim::StepModel>& models) {
    const Stopwatch watch;
    Stopwatch since_line;
    for (std::size_t i = 0; i < models.size(); ++i) {
      try_one(models[i]);
      if (since_line.seconds() < 5) continue;
      since_line.restart();
      const double each = watch.seconds() / static_cast<double>(i + 1);
      std::cerr << fmt::format("search: {} of {} predictions, {} left", i + 1, models.size(), duration(each * static_cast<double>(models.size() - i - 1))) << std::endl;
    }
    std::ranges::stable_sort(found_, {}, &Candidate::rounded);
  }
  void try_one(const sim::StepModel& model) {
    ++tried_;
    Candidate c{model, simulation_.predict(model, ranks_), 0};
    c.node_memory = fullest_node(c.prediction, machine_);
    least_memory_ = tried_ == 1 ? c.node_memory : std::min(least_memory_, c.node_memory);
    if (machine_.node_memory > 0 && c.node_memory > machine_.node_memory) {
      ++too_large_;
      return;
    }
    // What a rank is told apart by is not kept: there may be many candidates and ranks.
    for (auto* v : {&c.prediction.wait_seconds, &c.prediction.path_by_rank, &c.prediction.expert_rows, &c.prediction.sent_bytes, &c.prediction.between_bytes}) v->clear();
    found_.push_back(std::move(c));
  }

  const Simulation& simulation_;
  i64 ranks_, tried_ = 0, too_large_ = 0;
  sim::Cluster machine_;
  double least_memory_ = 0;
  std::vector<Candidate> found_;
};

/// What it does slower and faster than the best one, the two largest differences.
std::string against(const sim::Prediction& p, const sim::Prediction& best) {
  std::vector<std::pair<double, int>> differences;
  for (int i = 0; i < k_phase_count; ++i) differences.emplace_back(p.mean_of(static_cast<Phase>(i)) - best.mean_of(static_cast<Phase>(i)), i);
  std::ranges::sort(differences, std::greater<>(), [](const auto& d) { return std::abs(d.first); });
  std::vector<std::string> words;
  for (int i = 0; i < 2; ++i) {
    if (std::abs(differences[static_cast<std::size_t>(i)].first) > 0.001 * best.seconds) words.push_back(fmt::format("{} {:+.3f} ms", phase_name(static_cast<Phase>(differences[static_cast<std::size_t>(i)].second)), 1e3 * differences[static_cast<std::size_t>(i)].first));
  }
  return words.empty() ? "as fast" : fmt::format("{}", fmt::join(words, ", "));
}

/// The largest phases.
std::string where_time_goes(const sim::Prediction& p) {
  std::vector<std::pair<double, int>> phases;
  for (int i = 0; i < k_phase_count; ++i) phases.emplace_back(p.mean_of(static_cast<Phase>(i)), i);
  std::ranges::sort(phases, std::greater<>());
  std::vector<std::string> words;
  for (int i = 0; i < 3; ++i) words.push_back(fmt::format("{} {:.0f} %", phase_name(static_cast<Phase>(phases[static_cast<std::size_t>(i)].second)), 100 * phases[static_cast<std::size_t>(i)].first / p.seconds));
  return fmt::format("{}", fmt::join(words, ", "));
}

void print_found(const std::vector<Candidate>& found, std::size_t top) {
  report::Table t;
  for (const char* title : {"step ms", "tokens/s", "MiB of a node"}) t.columns.push_back({title, ""});
  for (const char* title : {"groups", "exchange", "sums", "chunks", "placement", "against the first"}) t.columns.push_back({title, "", true});
  for (std::size_t i = 0; i < found.size() && t.rows.size() < top; ++i) {
    const Candidate& c = found[i];
    if (std::any_of(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(i), [&](const Candidate& before) { return c.alike(before); })) continue;
    std::vector<std::string> cells = {fmt::format("{:.3f}", 1e3 * c.prediction.seconds), fmt::format("{:.0f}", c.prediction.tokens_per_second()), fmt::format("{:.1f}", c.node_memory / (1 << 20))};
    for (const std::string& setting : c.settings()) cells.push_back(setting.substr(setting.find('=') + 1));
    cells.push_back(i == 0 ? where_time_goes(c.prediction) : against(c.prediction, found.front().prediction));
    t.rows.emplace_back();
    for (const std::string& cell : cells) t.rows.back().push_back({cell, cell});
  }
  std::cout << report::as_text(t);
}

}  // namespace

void search_settings(const Arguments& arguments) {
  namespace options = boost::program_options;
  options::options_description description("options");
  SimulationRequest::add_options(description);
  description.add_options()("top", options::value<i64>()->default_value(10), "lines of the table")("out", options::value<std::string>(), "also write the configuration of the fastest one to this new file");
  Values values;
  if (!parse_arguments(comm::Communicator::alone(), arguments, k_search_usage, description, "", values)) return;
  const SimulationRequest request = SimulationRequest::read(values, "simulate search");
  const i64 top = values["top"].as<i64>();
  const std::string out = value_or<std::string>(values, "out", "");
  if (top < 1) user_error("--top {}: must be at least 1", top);
  if (request.ranks.size() > 1) user_error("--ranks {}: a search is for one number of ranks", fmt::join(request.ranks, ","));
  if (!out.empty()) require_new_file(comm::Communicator::alone(), "--out", out);
  const Simulation simulation(request);
  const i64 ranks = simulation.ranks().front();
  Search search(simulation, ranks);
  search.run();
  const sim::Cluster& cluster = simulation.cluster();
  if (search.found().empty()) {
    user_error("simulate search: none of {} settings fits the memory of a node of {} ({:.1f} GiB); the least would need {:.1f} GiB", search.tried(), cluster.name, cluster.node_memory / (1 << 30), search.least_memory() / (1 << 30));
  }
  std::cout << fmt::format("predicted, not measured: {} on {} ranks of {}; routing {}; {} settings{}\n", request.config, ranks, cluster.name, simulation.demand().what(), search.tried(),
                           search.too_large() > 0 ? fmt::format(", {} of them need more memory than a node has", search.too_large()) : "");
  print_found(search.found(), static_cast<std::size_t>(top));
  const std::vector<std::string> settings = search.found().front().settings();
  std::cout << fmt::format("the fastest: --set {}\n", fmt::join(settings, " --set "));
  for (const std::string& note : search.found().front().prediction.notes) std::cout << "note: " << note << "\n";
  const std::string text = simulation.resolved_with(settings);  // what training would refuse is to show here
  if (!out.empty()) io::write_output("--out", out, text);
}

}  // namespace pleiad::app
