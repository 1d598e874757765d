#include "pleiad/exchange/cost_model.hpp"

#include <algorithm>
#include <cmath>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/core/clock.hpp"

namespace pleiad::exchange {

namespace {

constexpr int k_tag = 21;
constexpr i64 k_most_chunks_chosen = 16;

std::size_t largest_node(const NodeLayout& nodes) {
  std::size_t largest = 0;
  for (i64 n = 0; n < nodes.nodes(); ++n) largest = std::max(largest, nodes.ranks_of(n).size());
  return largest;
}

/// Seconds of one exchange of `bytes` both ways, the least of several.
double time_both_ways(const comm::Communicator& group, i64 partner, i64 bytes, int repeats, std::vector<char>& out, std::vector<char>& in) {
  double least = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const Stopwatch watch;
    comm::Messages messages(group);
    messages.send(partner, k_tag, {comm::part(out.data(), bytes)});
    messages.receive(partner, k_tag, {comm::part(in.data(), bytes)});
    messages.wait();
    least = std::min(least, watch.seconds());
  }
  return least;
}

/// Between this rank and `partner` (-1: none), all pairs at once; the slowest pair counts.
LinkCost measure_link(const comm::Communicator& group, i64 partner) {
  constexpr i64 k_small = 8, k_long = i64{1} << 18;
  std::vector<char> out(static_cast<std::size_t>(k_long)), in(out.size());
  double seconds[2] = {0, 0};
  comm::barrier(group);
  if (partner >= 0) {
    seconds[0] = time_both_ways(group, partner, k_small, 10, out, in);
    seconds[1] = time_both_ways(group, partner, k_long, 4, out, in);
  }
  comm::all_reduce_max<double>(group, seconds);
  return {seconds[0], std::max(0.0, seconds[1] - seconds[0]) / static_cast<double>(k_long)};
}

double measure_copy() {
  std::vector<char> from(std::size_t{1} << 22, 1), to(from.size());
  double least = 1e30;
  for (int i = 0; i < 3; ++i) {
    const Stopwatch watch;
    std::ranges::copy(from, to.begin());
    least = std::min(least, watch.seconds());
    from[0] = to[to.size() - 1];  // so that no copy can be left out
  }
  return least / static_cast<double>(from.size());
}

/// The number of ranks (of `of` in all, `there` of them in question) expected among the owners of a token's experts.
double share_that_needs(double choices, double there, double of) { return 1 - std::pow(1 - there / of, choices); }

}  // namespace

MachineCost measure_machine(const comm::Communicator& group, const NodeLayout& nodes) {
  const i64 node = nodes.node_of(group.rank()), place = nodes.place(group.rank());
  const std::vector<i64>& mine = nodes.ranks_of(node);
  const std::size_t next = static_cast<std::size_t>(place ^ 1);
  MachineCost cost;
  if (nodes.nodes() < nodes.ranks()) cost.within = measure_link(group, next < mine.size() ? mine[next] : -1);
  const i64 other = node ^ 1;
  if (nodes.nodes() > 1) cost.between = measure_link(group, place == 0 && other < nodes.nodes() ? nodes.ranks_of(other).front() : -1);
  cost.per_copied_byte = comm::max_over<double>(group, measure_copy());
  return cost;
}

std::vector<Prediction> predict(const MachineCost& machine, const NodeLayout& nodes, const ExchangeLoad& load, Combine combine) {
  const double here = static_cast<double>(largest_node(nodes)), ranks = static_cast<double>(nodes.ranks()), away = ranks - here, others = static_cast<double>(nodes.nodes() - 1);
  const double tokens = static_cast<double>(load.tokens), row = static_cast<double>(load.width) * sizeof(real);
  const double to_rank = share_that_needs(load.choices, 1, ranks), to_node = share_that_needs(load.choices, here, ranks);
  const double per_choice = load.choices / ranks;  // rows that come back from a rank, if each expert's comes by itself
  const bool home = combine == Combine::home;
  const auto link = [](const LinkCost& cost, double messages, double bytes) { return cost.per_message * messages + cost.per_byte * bytes; };
  constexpr double k_messages = 3;  // tickets, rows, results

  // A cable carries what all ranks of its node send; inside a node every rank moves its own. What goes by message is packed first.
  const auto each_with_each = [&](double there) {
    const double back = home ? per_choice : there, bytes = tokens * row * (there + back);
    return link(machine.between, k_messages * away, bytes * away * here) + link(machine.within, k_messages * (here - 1), bytes * (here - 1)) +
           machine.per_copied_byte * tokens * row * (there * ranks + back * ranks);
  };
  std::vector<Prediction> all;
  all.push_back({Kind::all_to_all, each_with_each(to_rank)});
  // Into boxes, where experts read them, and results of other nodes into theirs; ranks of a node meet five times (in the memory of the node a message has no bytes
  // to move).
  const double there = to_node, back = home ? per_choice * here : to_node;
  const double meetings = here > 1 ? 5 * std::ceil(std::log2(here)) : 0;
  all.push_back({Kind::hierarchical, link(machine.between, k_messages * std::ceil(others / here), tokens * row * (there + back) * others * here) +
                                         machine.within.per_message * meetings +
                                         machine.per_copied_byte * tokens * row * (there * (others + 1) + back * others)});
  if (!home) all.push_back({Kind::gather, each_with_each(1) - machine.per_copied_byte * tokens * row * ranks});  // nothing is packed
  std::ranges::stable_sort(all, {}, &Prediction::seconds);
  return all;
}

i64 best_chunks(const MachineCost& machine, const NodeLayout& nodes, const ExchangeLoad& load, Combine combine, Kind kind) {
  const double ranks = static_cast<double>(nodes.ranks()), here = static_cast<double>(largest_node(nodes)), away = ranks - here;
  if (away == 0 || machine.between.per_message <= 0) return 1;
  // Places that a token may go to, other than its node; of them how many a rank writes to.
  const bool by_node = kind == Kind::hierarchical;
  const double each = by_node ? here : 1, places = by_node ? static_cast<double>(nodes.nodes() - 1) : away, partners = by_node ? std::ceil(places / here) : places;
  const double there = kind == Kind::gather ? 1 : share_that_needs(load.choices, each, ranks), back = combine == Combine::home ? load.choices * each / ranks : there;
  const double bytes = static_cast<double>(load.tokens * load.width) * sizeof(real) * (there + back) * places * here;
  // n chunks leave 1/n of the time uncovered and take 2 messages for each partner: the least of t/n + 2 a n is at n = sqrt(t / 2 a).
  const double n = std::sqrt(machine.between.per_byte * bytes / (2 * machine.between.per_message * partners));
  return std::clamp<i64>(static_cast<i64>(n), 1, k_most_chunks_chosen);
}

}  // namespace pleiad::exchange
