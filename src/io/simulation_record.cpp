#include "pleiad/io/simulation_record.hpp"

#include <algorithm>
#include <filesystem>

#include "pleiad/core/error.hpp"
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

void write_measured(H5File& file, const SimulationRecord::Measured& m) {
  file.write<double>("/measured/phase_seconds", m.phase_seconds, {static_cast<i64>(m.phase_seconds.size())}, {"s", "that a step took by phase (/phases): medians over the steps of means over the ranks, waits included"});
  file.write<double>("/measured/seconds", std::vector{m.seconds}, {1}, {"s", "that a step took: the median; without metrics, evaluation and checkpoints"});
  file.write<double>("/measured/predicted_seconds", std::vector{m.predicted}, {1}, {"s", "the prediction of the same"});
  file.write<double>("/measured/error", std::vector{m.predicted / m.seconds - 1}, {1}, {"1", "predicted_seconds over seconds, less 1"});
  file.set_attribute("/measured", "steps", m.steps);
}

sim::Prediction read_ranks(const H5File& file, i64 ranks) {
  const std::string group = fmt::format("/ranks/{}/", ranks);
  const auto by_rank = [&](const std::string& name) { return file.read<double>(group + name, Shape{ranks}); };
  Prediction p;
  p.ranks = ranks;
  p.phase_seconds = file.read<double>(group + "phase_seconds", Shape{ranks, k_phase_count});
  p.wait_seconds = by_rank("wait_seconds");
  p.path_by_rank = by_rank("path_seconds");
  p.sent_bytes = by_rank("sent_bytes");
  p.between_bytes = by_rank("between_bytes");
  p.memory.resize(static_cast<std::size_t>(ranks));
  const auto memory = [&](const char* name, double sim::RankMemory::*part) {
    const std::vector<double> values = by_rank(std::string("memory/") + name);
    for (std::size_t r = 0; r < values.size(); ++r) p.memory[r].*part = values[r];
  };
  memory("weights", &sim::RankMemory::weights);
  memory("gradients", &sim::RankMemory::gradients);
  memory("moments", &sim::RankMemory::moments);
  memory("activations", &sim::RankMemory::activations);
  memory("exchange", &sim::RankMemory::exchange);
  if (file.exists(group + "expert_rows")) p.expert_rows = file.read<double>(group + "expert_rows", Shape{file.extent(group + "expert_rows", 0), ranks});
  if (file.exists(group + "links")) {
    const std::vector<std::string> names = file.read_texts(group + "links/name");
    const Shape all{static_cast<i64>(names.size())};
    const std::vector<double> bytes = file.read<double>(group + "links/bytes", all), seconds = file.read<double>(group + "links/seconds", all);
    for (std::size_t i = 0; i < names.size(); ++i) p.links.push_back({names[i], bytes[i], seconds[i]});
  }
  if (file.exists(group + "notes")) p.notes = file.read_texts(group + "notes");
  return p;
}

std::vector<Prediction> read_predictions(const H5File& file) {
  const std::vector<i64> ranks = file.read<i64>("/predictions/ranks");
  const Shape rows{static_cast<i64>(ranks.size())};
  const auto whole = [&](const char* name) { return file.read<i64>(std::string("/predictions/") + name, rows); };
  const auto number = [&](const char* name) { return file.read<double>(std::string("/predictions/") + name, rows); };
  const std::vector<i64> nodes = whole("nodes"), tokens = whole("tokens");
  const std::vector<double> seconds = number("seconds"), ideal = number("ideal_seconds"), flops = number("flops"),
                            path = file.read<double>("/predictions/path_seconds", Shape{rows[0], k_phase_count});
  const std::vector<std::string> exchange = file.read_texts("/predictions/exchange");
  if (ranks.empty() || exchange.size() != ranks.size()) user_error("'{}' is damaged: {} numbers of ranks, {} ways to exchange", file.path(), ranks.size(), exchange.size());
  std::vector<Prediction> all;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (ranks[i] < 1 || tokens[i] < 1 || !(seconds[i] > 0)) user_error("'{}' is damaged: {} tokens on {} ranks in {} s", file.path(), tokens[i], ranks[i], seconds[i]);
    Prediction& p = all.emplace_back(read_ranks(file, ranks[i]));
    p.nodes = nodes[i];
    p.tokens = tokens[i];
    p.seconds = seconds[i];
    p.ideal_seconds = ideal[i];
    p.flops = flops[i];
    p.exchange = exchange[i];
    p.path_seconds.assign(path.begin() + static_cast<std::ptrdiff_t>(i * k_phase_count), path.begin() + static_cast<std::ptrdiff_t>((i + 1) * k_phase_count));
  }
  return all;
}

}  // namespace

bool is_simulation(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return false;
  try {
    return H5File::open(path).text("/", "format") == k_simulation_format;
  } catch (const UserError&) {
    return false;
  }
}

SimulationRecord read_simulation(const std::string& path) {
  const H5File file = H5File::open(path);
  file.require_format(k_simulation_format);
  if (file.read_texts("/phases") != phase_names()) user_error("{}: has other phases of a step than this version knows; predict again", path);
  SimulationRecord r{file.read_text("/config"), file.read_text("/cluster"), file.text("/", "demand"), file.text("/", "engine"), file.integer("/", "seed"), file.integer("/", "step"), read_predictions(file)};
  if (file.exists("/measured")) {
    const auto one = [&](const char* name) { return file.read<double>(std::string("/measured/") + name, Shape{1})[0]; };
    r.measured = {file.integer("/measured", "steps"), one("seconds"), file.read<double>("/measured/phase_seconds", Shape{k_phase_count}), one("predicted_seconds")};
  }
  r.written_by = fmt::format("{} ({})", file.text("/", "pleiad_version"), file.text("/", "git_commit"));
  return r;
}

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
  if (r.measured) write_measured(file, *r.measured);
  file.close();
  publish(partial, path);
}

}  // namespace pleiad::io
