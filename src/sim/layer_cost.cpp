#include "pleiad/sim/layer_cost.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "pleiad/core/error.hpp"
#include "pleiad/exchange/choice.hpp"
#include "pleiad/exchange/ticket.hpp"

namespace pleiad::sim {

namespace {

using exchange::Combine;
using exchange::Kind;

constexpr double k_ticket = sizeof(exchange::Ticket), k_weight = sizeof(real);
// Ranks of a node that share memory meet so often on the way there and on the way back, as in exchange::predict.
constexpr double k_meetings_there = 2, k_meetings_back = 3;

double all_of(const Reached& r) { return r.own + r.near + r.far; }

/// Of `places` that `rows` rows go to at random, those that get any.
double places_with_rows(double rows, double places) { return places > 0 ? places * -std::expm1(-rows / places) : 0; }

/// Sums over the groups of one layer, from which the trips are made.
class Counted {
 public:
  Counted(const LayerFrame& f, i64 layer, i64 step) : f_(f), rows_there_(f.cluster.network, f.cluster.nodes), entries_there_(rows_there_), rows_back_(rows_there_), entries_back_(rows_there_) {
    const std::size_t ranks = static_cast<std::size_t>(f.groups.back().first + f.groups.back().count);
    for (auto* v : {&cost_.rows, &cost_.arrived, &cost_.kept, &cost_.touched, &cost_.sent, &cost_.between, &cost_.expert[0], &cost_.expert[1], &cost_.plan.hands, &cost_.there.hands, &cost_.back[0].hands, &cost_.back[1].hands}) {
      v->assign(ranks, 0.0);
    }
    for (std::size_t g = 0; g < f.groups.size(); ++g) {
      const Occasion at{layer, step, static_cast<i64>(g)};
      count_experts(f.groups[g], f.demand.expert_rows(at, f.sequences[g].total()));
      if (f.travel.alone) {
        count_alone(f.groups[g]);
      } else {
        traffic_.push_back(count_traffic(f.demand, at, f.sequences[g], f.owner, f.groups[g], f.travel.kind, f.model.model.seq_len));
        count_hands(f.groups[g], f.sequences[g], traffic_.back());
        count_bytes(f.groups[g], traffic_.back());
      }
    }
    if (!f.travel.alone) count_wires();
    for (Trip* t : {&cost_.plan, &cost_.there, &cost_.back[0], &cost_.back[1]}) t->wire.resize(static_cast<std::size_t>(f.cluster.nodes), 0.0);
  }

  LayerCost take() { return std::move(cost_); }

 private:
  const LayerFrame& f_;
  LayerCost cost_{.plan = {}, .there = {}, .back = {}, .expert = {}, .rows = {}, .arrived = {}, .kept = {}, .touched = {}, .sent = {}, .between = {}, .loads = LinkLoads(f_.cluster.network, f_.cluster.nodes), .coverage = {}};
  std::vector<LayerTraffic> traffic_;
  LinkLoads rows_there_, entries_there_, rows_back_, entries_back_;  // of one unit

  double row() const { return f_.model.row_bytes(); }
  bool home() const { return f_.travel.combine == Combine::home; }

  void count_experts(const RankGroup& g, const std::vector<double>& rows) {
    for (i64 r = 0; r < g.count; ++r) {
      const std::size_t i = static_cast<std::size_t>(g.first + r);
      const std::vector<i64>& owned = f_.owned[static_cast<std::size_t>(r)];
      for (const i64 e : owned) {
        cost_.rows[i] += rows[static_cast<std::size_t>(e)];
        cost_.kept[i] += rows[static_cast<std::size_t>(e)] * kept_numbers(f_.model, e);
        if (rows[static_cast<std::size_t>(e)] > 0) cost_.touched[i] += f_.model.expert_parameters(e);
      }
      for (const Pass pass : {Pass::forward, Pass::backward}) {
        cost_.expert[static_cast<std::size_t>(pass)][i] = seconds_of(expert_work(f_.model, owned, rows, !f_.travel.alone && home(), pass), f_.cluster, cost_.coverage);
      }
    }
  }

  /// Nothing travels; experts add their results where they belong.
  void count_alone(const RankGroup& g) {
    for (i64 r = g.first; r < g.first + g.count; ++r) cost_.plan.hands[static_cast<std::size_t>(r)] = cost_.rows[static_cast<std::size_t>(r)] * f_.cluster.compute.plan_seconds;
  }

  void count_hands(const RankGroup& g, const RankSequences& sequences, const LayerTraffic& t) {
    const Cluster& c = f_.cluster;
    const bool shared = f_.travel.kind == Kind::hierarchical, gathers = f_.travel.kind == Kind::gather;
    const double chunks = static_cast<double>(f_.travel.chunks), within = c.network.within_bandwidth;
    for (i64 r = 0; r < g.count; ++r) {
      const std::size_t i = static_cast<std::size_t>(r), world = static_cast<std::size_t>(g.first + r);
      const double here = static_cast<double>(g.ranks_on(g.node_of(r))), near = here - 1, far = static_cast<double>(g.count) - here, others = static_cast<double>(g.nodes() - 1);
      const double meeting = here > 1 && shared ? std::ceil(std::log2(here)) * c.network.within_latency : 0;
      // Tickets go to everybody, rows where there are any: to and from every partner, chunk by chunk. Between nodes that share memory a rank speaks for its node to some of the others.
      const Reached &out = t.rows_out[i], &in = t.rows_in[i];
      const double ports = std::ceil(others / here);
      const auto partners = [&](const Reached& x) { return std::min(places_with_rows(x.near, near) + places_with_rows(x.far, far), gathers ? near + far : x.near + x.far); };
      const double row_messages = shared ? 2 * ports * chunks : (partners(out) + partners(in)) * chunks, tickets = shared ? 2 * ports : 2 * (near + far);
      const double messages = row_messages * c.network.message_seconds;
      const Reached& back_home = home() ? t.entries_in[i] : in;  // what goes home
      double summed = home() ? all_of(t.entries_out[i]) : all_of(out);  // rows read and, for each token, one written
      for (const RankSequences::Count& n : sequences.of(r)) summed += static_cast<double>(n.sequences * f_.model.model.seq_len);
      const double assignments = all_of(t.entries_out[i]) + all_of(t.entries_in[i]);
      cost_.plan.hands[world] = assignments * c.compute.plan_seconds + tickets * c.network.message_seconds;
      const double copied = gathers ? 0 : all_of(out);  // packed, or put into boxes
      cost_.there.hands[world] = copied * row() / c.memory.copy + (shared || near == 0 ? 0 : out.near * row() / within) + messages + k_meetings_there * meeting;
      const double home_copies = shared ? back_home.far : all_of(back_home), near_bytes = near == 0 || shared ? 0 : back_home.near * row() / within;
      for (Trip& back : cost_.back) {
        back.hands[world] = home_copies * row() / c.memory.copy + near_bytes + summed * row() / c.memory.stream + messages + k_meetings_back * meeting;
      }
      cost_.arrived[world] = all_of(in);
      if (row_messages > 0 && out.far > 0) cost_.message = std::max(cost_.message, out.far * row() / std::max(1.0, shared ? others * chunks / here : places_with_rows(out.far, far) * chunks));
    }
  }

  void count_bytes(const RankGroup& g, const LayerTraffic& t) {
    const bool shared = f_.travel.kind == Kind::hierarchical;
    for (std::size_t r = 0; r < t.rows_out.size(); ++r) {
      const auto amount = [&](const std::vector<Reached>& rows, const std::vector<Reached>& entries, double Reached::*part) {
        return exchange::Amount{std::llround(rows[r].*part), std::llround(entries[r].*part)};
      };
      const auto add = [&](double Reached::*part, exchange::Way way) {
        return exchange::traffic_between_ranks(amount(t.rows_out, t.entries_out, part), amount(t.rows_in, t.entries_in, part), f_.model.model.width, f_.travel.combine, way);
      };
      exchange::Traffic sum = add(&Reached::near, shared ? exchange::Way::shared_memory : exchange::Way::messages_within);
      sum += add(&Reached::far, exchange::Way::messages_between);
      cost_.sent[static_cast<std::size_t>(g.first) + r] = static_cast<double>(sum.bytes());
      cost_.between[static_cast<std::size_t>(g.first) + r] = static_cast<double>(sum.between_bytes);
    }
  }

  void count_wires() {
    const Cluster& c = f_.cluster;
    // What goes there, and what comes back: flows of every group, between nodes and between ranks.
    std::vector<Flow> back_rows, back_entries, back_rank_rows, back_rank_entries;
    for (const LayerTraffic& t : traffic_) {
      back_rows.push_back(t.rows.reversed());
      back_entries.push_back(t.entries.reversed());
      back_rank_rows.push_back(t.rank_rows.reversed());
      back_rank_entries.push_back(t.rank_entries.reversed());
      rows_there_.add(t.rows, 1);
      entries_there_.add(t.entries, 1);
      rows_back_.add(back_rows.back(), 1);
      entries_back_.add(back_entries.back(), 1);
    }
    struct Part {
      const LinkLoads& loads;
      std::vector<Transfer> flows;  // of one byte
      double bytes;
    };
    std::vector<Transfer> rows, entries, rows_home, entries_home;
    for (std::size_t g = 0; g < traffic_.size(); ++g) {
      rows.push_back({&traffic_[g].rows, 1, &traffic_[g].rank_rows});
      entries.push_back({&traffic_[g].entries, 1, &traffic_[g].rank_entries});
      rows_home.push_back({&back_rows[g], 1, &back_rank_rows[g]});
      entries_home.push_back({&back_entries[g], 1, &back_rank_entries[g]});
    }
    const bool several = std::ranges::any_of(f_.groups, [](const RankGroup& g) { return g.nodes() > 1; });
    const double latency = several ? longest_latency(c.network, c.nodes) : c.network.within_latency;
    const auto carry = [&](Trip& trip, const std::vector<Part>& parts, double times) {
      std::vector<Transfer> transfers;
      LinkLoads loads(c.network, c.nodes);
      for (const Part& p : parts) {
        loads.add(p.loads, p.bytes);
        for (const Transfer& t : p.flows) transfers.push_back({t.flow, p.bytes, t.ranks});
      }
      trip.wire.assign(static_cast<std::size_t>(c.nodes), 0.0);
      if (several) trip.wire = f_.engine.carry(c, transfers, loads);
      for (double& w : trip.wire) w += latency;
      cost_.loads.add(loads, times);
    };
    carry(cost_.plan, {{entries_there_, entries, k_ticket}}, 1);
    carry(cost_.there, {{rows_there_, rows, row()}}, 2);
    const Part results = home() ? Part{entries_back_, entries_home, row()} : Part{rows_back_, rows_home, row()};
    carry(cost_.back[0], {results}, 1);
    carry(cost_.back[1], {results, {entries_back_, entries_home, k_weight}}, 1);
  }
};

}  // namespace

std::string Travel::in_words() const {
  if (alone) return "local";
  return fmt::format("{}{}, summed {}", exchange::name_of(kind), chunks > 1 ? fmt::format(" in {} chunks", chunks) : "", combine == Combine::home ? "at home" : "by the owner");
}

Travel choose_travel(const StepModel& m, const Cluster& c, i64 group_ranks) {
  const exchange::ExchangeConfig& wanted = m.exchange;
  Travel t;
  t.alone = group_ranks == 1 || m.moe.layers.empty();
  t.combine = wanted.combine;
  if (t.alone) return t;
  if (wanted.kind == "local") user_error("exchange.kind = local: works on 1 rank per expert group only, here are {}; allowed: auto, all_to_all, hierarchical, gather", group_ranks);
  const exchange::NodeLayout nodes = exchange::NodeLayout::of_size(group_ranks, c.ranks_per_node);
  const Network& n = c.network;
  const auto per_byte = [](double bandwidth) { return bandwidth > 0 ? 1 / bandwidth : 0; };
  const exchange::MachineCost machine{{n.within_latency, per_byte(n.within_bandwidth)}, {n.latency, per_byte(n.nic_bandwidth)}, 1 / c.memory.copy};
  const exchange::ChunksOf chunks_of = m.moe.bank == routing::Bank::feed_forward ? exchange::ChunksOf::experts : exchange::ChunksOf::tokens;
  const exchange::ExchangeLoad load{std::max<i64>(1, m.batch * m.model.seq_len / (group_ranks * m.data_groups)), m.model.width, m.choices, chunks_of};
  if (wanted.kind == "dry_run") t.kind = wanted.pretend_kind;
  else if (wanted.kind == "auto") t.kind = exchange::predict(machine, nodes, load, t.combine).front().kind;
  else t.kind = exchange::kind_of(wanted.kind);
  if (exchange::goes_in_chunks(t.kind, chunks_of)) t.chunks = wanted.chunks > 0 ? wanted.chunks : exchange::best_chunks(machine, nodes, load, t.combine, t.kind);
  if (chunks_of == exchange::ChunksOf::experts) t.chunks = std::clamp<i64>(t.chunks, 1, std::max<i64>(1, m.experts() / group_ranks));  // a chunk needs an expert
  return t;
}

LayerCost cost_of_layer(const LayerFrame& frame, i64 layer, i64 step) { return Counted(frame, layer, step).take(); }

}  // namespace pleiad::sim
