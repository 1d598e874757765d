#include "pleiad/bench/message_probes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/sim/collectives.hpp"

namespace pleiad::bench {

namespace {

constexpr int k_pair_tag = 41;
constexpr i64 k_many = 64;        // short messages under way at once: their latencies hide behind each other, the work of processors does not
constexpr i64 k_sums[] = {1, 8192};  // numbers
constexpr i64 k_sent[] = {512, 32768, 2097152};  // bytes that a rank sends in all, as many to each other one

}  // namespace

MessageProbes::MessageProbes(const comm::Communicator& world, const exchange::NodeLayout& nodes, const CalibrationSizes& sizes)
    : world_(world), nodes_(nodes), sizes_(sizes), out_(static_cast<std::size_t>(sizes.messages.back())), in_(out_.size()), sum_(k_sums[1], 1.0) {}

void MessageProbes::send_both_ways(i64 partner, i64 bytes, i64 count) {
  comm::Messages messages(world_);
  for (i64 i = 0; i < count; ++i) messages.send(partner, k_pair_tag, {comm::part(out_.data(), bytes)});
  for (i64 i = 0; i < count; ++i) messages.receive(partner, k_pair_tag, {comm::part(in_.data(), bytes)});
  messages.wait();
}

void MessageProbes::add_pairs(std::vector<Probe>& probes, const std::string& group, i64 partner) {
  const auto add = [&](const std::string& name, double work, i64 bytes, i64 count) {
    probes.push_back({name, work, [this, partner, bytes, count] {
      if (partner >= 0) send_both_ways(partner, bytes, count);
    }, partner >= 0});
  };
  for (const double bytes : sizes_.messages) add(group, bytes, static_cast<i64>(bytes), 1);
  add("message " + group, 2.0 * k_many, 8, k_many);
}

void MessageProbes::add_all_to_alls(std::vector<Probe>& probes) {
  const i64 ranks = world_.size();
  for (const i64 sent : k_sent) {
    const i64 bytes = std::min(sent, static_cast<i64>(out_.size())) / ranks;
    if (bytes == 0) continue;
    std::vector<i64> counts(static_cast<std::size_t>(ranks), bytes);
    counts[static_cast<std::size_t>(world_.rank())] = 0;
    probes.push_back({"all to all", static_cast<double>(bytes), [this, counts] { comm::all_to_all_rows<char>(world_, out_.data(), counts, in_.data(), counts, 1); }});
  }
}

void MessageProbes::add_to(std::vector<Probe>& probes) {
  const i64 node = nodes_.node_of(world_.rank()), place = nodes_.place(world_.rank());
  const auto at = [&](i64 which, i64 where) {
    if (which >= nodes_.nodes() || where >= static_cast<i64>(nodes_.ranks_of(which).size())) return i64{-1};
    return nodes_.ranks_of(which)[static_cast<std::size_t>(where)];
  };
  if (nodes_.nodes() < nodes_.ranks()) add_pairs(probes, "within", at(node, place ^ 1));
  if (nodes_.nodes() > 1) add_pairs(probes, "between", at(node ^ 1, place));
  if (world_.size() == 1) return;
  for (const i64 numbers : k_sums) {
    probes.push_back({"sum", 8.0 * static_cast<double>(numbers), [this, numbers] {
      comm::all_reduce_max<double>(world_, std::span(sum_).first(static_cast<std::size_t>(numbers)));  // of equal numbers, so that they stay what they are
    }});
  }
  add_all_to_alls(probes);
}

void set_network_rates(const CalibrationSizes& sizes, const std::vector<Probe>& probes, sim::Cluster& c) {
  const auto line_of = [&](const std::string& group) {
    std::vector<double> seconds;
    for (const Probe& p : probes) {
      if (p.group == group) seconds.push_back(p.seconds);
    }
    if (seconds.empty()) return Line{};
    // What lies between lets short messages pass faster than it goes on for long (buffers, limits of a rate with a burst), and what a step sends is long: the bandwidth is that of the longest message. Noise can
    // make this one as fast as a short one; the file wants a bandwidth then too.
    Line line = fit_line(sizes.messages, seconds);
    const double longest = seconds.back() - line.at_zero;
    line.per_unit = std::max(line.per_unit, (longest > 0 ? longest : seconds.back()) / sizes.messages.back());
    return line;
  };
  const auto processor_seconds = [&](const std::string& group) {
    const std::vector<double> rates = rates_of(probes, group);
    return rates.empty() ? 0 : 1 / rates.front();
  };
  const Line within = line_of("within"), between = line_of("between");
  if (within.per_unit > 0) {
    c.network.within_latency = within.at_zero;
    c.network.within_bandwidth = 1 / within.per_unit;
  }
  if (between.per_unit > 0) {
    c.network.latency = between.at_zero;
    c.network.nic_bandwidth = static_cast<double>(c.ranks_per_node) / between.per_unit;
  }
  c.network.message_seconds = processor_seconds(between.per_unit > 0 ? "message between" : "message within");
  if (within.per_unit > 0 || between.per_unit > 0) {
    c.network.least_message = sizes.messages.front();
    c.network.most_message = sizes.messages.back();
  }
}

std::vector<std::string> collectives_in_words(const std::vector<Probe>& probes, const sim::Cluster& c) {
  std::vector<std::string> lines;
  for (const Probe& p : probes) {
    const bool sum = p.group == "sum";
    if (!sum && p.group != "all to all") continue;
    const double predicted = sum ? sim::all_reduce_seconds(c, c.ranks(), p.work) : sim::all_to_all_seconds(c, c.ranks(), p.work);
    lines.push_back(fmt::format("{} of {:.0f} bytes {} {} ranks: measured {:.1f} us, by the numbers of the file {:.1f} us", sum ? "all-reduce" : "alltoallv", p.work, sum ? "over" : "between any two of", c.ranks(), 1e6 * p.seconds, 1e6 * predicted));
  }
  return lines;
}

}  // namespace pleiad::bench
