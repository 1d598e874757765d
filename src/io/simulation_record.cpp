#include "pleiad/io/simulation_record.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pleiad/io/identity.hpp"

namespace pleiad::io {

namespace {

using sim::Prediction;

std::vector<std::string> phase_names() {
  std::vector<std::string> names;
  for (int p = 0; p < k_phase_count; ++p) names.emplace_back(phase_name(static_cast<Phase>(p)));
  return names;
}

/// One row for each prediction.
template <class T, class Get>
void write_column(H5File& file, const std::vector<Prediction>& all, const std::string& name, const char* units, const char* text, Get get) {
  std::vector<T> values;
  for (const Prediction& p : all) values.push_back(static_cast<T>(get(p)));
  file.write<T>("/predictions/" + name, values, {static_cast<i64>(values.size())}, {units, text});
}

void write_summary(H5File& file, const std::vector<Prediction>& all) {
  const auto whole = [&](const char* name, const char* units, const char* text, auto get) { write_column<i64>(file, all, name, units, text, get); };
  const auto number = [&](const char* name, const char* units, const char* text, auto get) { write_column<double>(file, all, name, units, text, get); };
  whole("ranks", "1", "MPI ranks", [](const Prediction& p) { return p.ranks; });
  whole("nodes", "1", "nodes that they are on", [](const Prediction& p) { return p.nodes; });
  whole("tokens", "1", "of the global batch", [](const Prediction& p) { return p.tokens; });
  number("seconds", "s", "of a training step", [](const Prediction& p) { return p.seconds; });
  number("ideal_seconds", "s", "the computation alone, shared out evenly among ranks that nothing slows down", [](const Prediction& p) { return p.ideal_seconds; });
  number("efficiency", "1", "ideal_seconds over seconds", [](const Prediction& p) { return p.efficiency(); });
  number("tokens_per_second", "1/s", "tokens of the batch over seconds", [](const Prediction& p) { return p.tokens_per_second(); });
  number("flops", "flop", "of the step: forward, and twice that backward", [](const Prediction& p) { return p.flops; });
  whole("slowest_rank", "1", "rank that is most on the critical path", [](const Prediction& p) { return p.slowest_rank(); });
  std::vector<std::string> exchange, path;
  for (const Prediction& p : all) exchange.push_back(p.exchange), path.push_back(p.path_in_words());
  file.write_texts("/predictions/exchange", exchange, "how tokens travel");
  file.write_texts("/predictions/critical_path", path, "where the time of the last rank goes");
  std::vector<double> along;
  for (const Prediction& p : all) along.insert(along.end(), p.path_seconds.begin(), p.path_seconds.end());
  file.write<double>("/predictions/path_seconds", along, {static_cast<i64>(all.size()), k_phase_count}, {"s", "along the critical path by phase; they add up to seconds"});
}

/// What differs from rank to rank.
void write_ranks(H5File& file, const Prediction& p) {
  const std::string group = fmt::format("/ranks/{}/", p.ranks);
  const auto by_rank = [&](const std::string& name, const std::vector<double>& values, Shape shape, const char* units, const char* text) {
    file.write<double>(group + name, values, shape, {units, text, 0, 1});
  };
  by_rank("phase_seconds", p.phase_seconds, {p.ranks, k_phase_count}, "s", "of each rank by phase (/phases), waits for others included");
  by_rank("wait_seconds", p.wait_seconds, {p.ranks}, "s", "of these, waits for others");
  by_rank("path_seconds", p.path_by_rank, {p.ranks}, "s", "what each rank contributes to the critical path");
  by_rank("sent_bytes", p.sent_bytes, {p.ranks}, "B", "sent by each rank in the exchange of all layers, forward and backward");
  by_rank("between_bytes", p.between_bytes, {p.ranks}, "B", "of these, those that leave its node");
  const auto memory = [&](const char* name, const char* text, double sim::RankMemory::*part) {
    std::vector<double> values;
    for (const sim::RankMemory& m : p.memory) values.push_back(m.*part);
    by_rank(std::string("memory/") + name, values, {p.ranks}, "B", text);
  };
  memory("weights", "values of the parameters of each rank", &sim::RankMemory::weights);
  memory("gradients", "their gradients, replicated ones once for each lane", &sim::RankMemory::gradients);
  memory("moments", "two moments of the optimizer", &sim::RankMemory::moments);
  memory("activations", "what forward keeps for backward", &sim::RankMemory::activations);
  memory("exchange", "token rows that came from other ranks", &sim::RankMemory::exchange);
  if (!p.expert_rows.empty()) {
    by_rank("expert_rows", p.expert_rows, {static_cast<i64>(p.expert_rows.size()) / p.ranks, p.ranks}, "1", "rows of the experts of each rank, by layer with experts");
  }
  std::vector<std::string> names;
  std::vector<double> bytes, seconds;
  for (const auto& link : p.links) names.push_back(link.name), bytes.push_back(link.bytes), seconds.push_back(link.seconds);
  if (!names.empty()) {
    const i64 links = static_cast<i64>(names.size());
    file.write_texts(group + "links/name", names, "the busiest links, the longest busy first");
    file.write<double>(group + "links/bytes", bytes, {links}, {"B", "that go over each of them in a step"});
    file.write<double>(group + "links/seconds", seconds, {links}, {"s", "that this takes at its bandwidth"});
  }
  if (!p.notes.empty()) file.write_texts(group + "notes", p.notes, "what the prediction leaves out, and where it is outside of what was measured");
}

}  // namespace

void write_simulation(const std::string& path, const SimulationRecord& r) {
  const std::string partial = temporary_name(path);
  H5File file = H5File::create(partial);
  set_identity(file, k_simulation_format, "Pleiad prediction of training steps on a described cluster");
  file.set_attribute("/", "engine", r.engine);
  file.set_attribute("/", "demand", r.demand);
  file.set_attribute("/", "seed", r.seed);
  file.set_attribute("/", "step", r.step);
  file.write_text("/config", r.config, "resolved configuration, INI form");
  file.write_text("/cluster", r.cluster, "description of the cluster, INI form");
  file.write_texts("/phases", phase_names(), "names of the phases of a step");
  write_summary(file, r.predictions);
  for (const Prediction& p : r.predictions) write_ranks(file, p);
  file.close();
  publish(partial, path);
}

}  // namespace pleiad::io
