#include "pleiad/sim/prediction.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "pleiad/comm/messages.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/core/exact_sum.hpp"
#include "pleiad/routing/claim.hpp"
#include "pleiad/sim/collectives.hpp"

namespace pleiad::sim {

namespace {

constexpr i64 k_links_listed = 10;
const i64 k_digits = static_cast<i64>(ExactSum().digits().size());

/// What every rank of the same share does in the same way, seconds of one that nothing slows down.
struct DenseSeconds {
  double embed[2], attention[2], norm[2], router[2], dense[2], side[2], head[2];  // by Pass
  Coverage coverage;                                                              // of a whole step
};

class StepWalk {
 public:
  explicit StepWalk(const Scenario& s)
      : s_(s), m_(s.model), c_(s.cluster), groups_(m_.data_groups), frame_{m_, c_, s.demand, s.engine, {}, {}, {}, {}, {}}, clocks_(s.ranks, groups_, {c_.ranks_per_node, c_.cores}), loads_(c_.network, c_.nodes) {
    share_out();
    if (c_.ranks_per_node > c_.cores) shared_ = std::pow(c_.sharing, std::log2(static_cast<double>(c_.ranks_per_node) / static_cast<double>(c_.cores)));
    for (i64 l = 0; l < m_.moe_layers(); ++l) layers_.push_back(cost_of_layer(frame_, l, s.step));
    for (const auto& [share, count] : counts_) dense_.emplace(share, dense_seconds(share, static_cast<double>(count)));
  }

  Prediction walk() {
    forward();
    const double backward_begin = clocks_.last();
    backward();
    sync_gradients(clocks_.last() - backward_begin - rows_on_the_wire());
    optimizer();
    return result();
  }

 private:
  void share_out();
  DenseSeconds dense_seconds(const Share& share, double ranks);
  void forward();
  void backward();
  void experts(std::size_t layer, Pass pass);
  void judge_claims();
  double rows_on_the_wire() const;
  void sync_gradients(double idle_seconds);
  double between_all(double bytes);
  void optimizer();
  Prediction result();
  void add_notes(Prediction& p) const;
  RankMemory memory(i64 rank) const;

  double slowness(i64 rank) const { return shared_ * c_.slowness[static_cast<std::size_t>(c_.node_of(rank))]; }
  const DenseSeconds& dense(i64 rank) const { return dense_.at(shares_[static_cast<std::size_t>(rank)]); }
  /// The rank's processor is busy with what others make necessary: plans, copies, messages.
  void serve(i64 rank, Phase phase, double seconds) { clocks_.compute(rank, phase, slowness(rank) * c_.factor(phase) * seconds); }
  /// The rank computes.
  void compute(i64 rank, Phase phase, double seconds) {
    useful_ += c_.factor(phase) * seconds;
    serve(rank, phase, seconds);
  }
  /// The network is busy, and the rank has to wait for it.
  void travel(i64 rank, Phase phase, double seconds) { clocks_.spend(rank, phase, c_.factor(phase) * seconds); }
  /// All ranks wait for the last of them, and a sum takes so long.
  void meet(Phase phase, double seconds) { clocks_.meet(phase, c_.factor(phase) * seconds); }
  void compute_all(Phase phase, double (DenseSeconds::*part)[2], Pass pass) {
    for (i64 r = 0; r < s_.ranks; ++r) compute(r, phase, (dense(r).*part)[static_cast<std::size_t>(pass)]);
  }
  double all_reduce(double bytes) const { return all_reduce_seconds(c_, s_.ranks, bytes); }
  double sum_over_layers(std::vector<double> LayerCost::*what, i64 rank) const {
    double sum = 0;
    for (const LayerCost& l : layers_) sum += (l.*what)[static_cast<std::size_t>(rank)];
    return sum;
  }
  double expert_numbers(i64 rank) const { return expert_numbers_[static_cast<std::size_t>(rank % group_ranks_)]; }

  const Scenario& s_;
  const StepModel& m_;
  const Cluster& c_;
  i64 groups_, group_ranks_ = 1;
  double shared_ = 1;                      // what sharing cores costs beside the turns that ranks take
  LayerFrame frame_;
  Clocks clocks_;
  LinkLoads loads_;
  Coverage coverage_;
  std::vector<Share> shares_;              // [ranks]
  std::map<Share, i64> counts_;            // ranks that have it
  std::map<Share, DenseSeconds> dense_;
  std::vector<double> expert_numbers_;     // [ranks of a group] trainable numbers of its experts in all layers
  std::vector<LayerCost> layers_;
  double useful_ = 0;                      // seconds of computation of all ranks
};

void StepWalk::share_out() {
  group_ranks_ = s_.ranks / groups_;
  std::vector<i64> first(static_cast<std::size_t>(s_.ranks + 1), m_.batch);
  for (i64 r = 0; r < s_.ranks; ++r) {
    const LaneLayout lanes(m_.lanes, m_.batch, m_.model.seq_len, s_.ranks, r);
    first[static_cast<std::size_t>(r)] = lanes.my_sequences().begin;
    shares_.push_back({lanes.my_lanes().count, lanes.my_sequences().count});
    ++counts_[shares_.back()];
  }
  frame_.travel = choose_travel(m_, c_, group_ranks_);
  expert_numbers_.assign(static_cast<std::size_t>(group_ranks_), 0.0);
  if (m_.moe.layers.empty()) return;
  const ExpertMap map(m_.moe.placement, m_.moe.expert_widths, group_ranks_);
  frame_.owner = map.owner_of_each();
  for (i64 r = 0; r < group_ranks_; ++r) {
    frame_.owned.push_back(map.owned_by(r));
    for (const i64 e : frame_.owned.back()) expert_numbers_[static_cast<std::size_t>(r)] += static_cast<double>(m_.moe_layers()) * m_.expert_parameters(e);
  }
  for (i64 g = 0; g < groups_; ++g) {
    frame_.groups.push_back({g * group_ranks_, group_ranks_, c_.ranks_per_node});
    frame_.sequences.emplace_back(s_.demand, s_.step, std::span(first).subspan(static_cast<std::size_t>(g * group_ranks_), static_cast<std::size_t>(group_ranks_ + 1)));
  }
}

DenseSeconds StepWalk::dense_seconds(const Share& share, double ranks) {
  DenseSeconds d{};
  const double blocks = static_cast<double>(m_.model.layers), with = static_cast<double>(m_.moe_layers());
  for (const Pass pass : {Pass::forward, Pass::backward}) {
    const std::size_t p = static_cast<std::size_t>(pass);
    const auto seconds = [&](const Work& w, double times) {
      Coverage seen;
      const double s = seconds_of(w, c_, seen);
      d.coverage.add(seen, times);
      return s;
    };
    d.embed[p] = seconds(embed_work(m_, share, pass), 1);
    d.attention[p] = seconds(attention_work(m_, share, pass), blocks);
    d.norm[p] = seconds(norm_work(m_, share), blocks);
    d.router[p] = seconds(router_work(m_, share, pass), with);
    d.side[p] = seconds(side_work(m_, share, pass), with);
    d.dense[p] = seconds(dense_ffn_work(m_, share, pass), blocks - with);
    d.head[p] = seconds(head_work(m_, share, pass), 1);
  }
  coverage_.add(d.coverage, ranks);
  return d;
}

void StepWalk::forward() {
  compute_all(Phase::embed, &DenseSeconds::embed, Pass::forward);
  std::size_t layer = 0;
  for (i64 b = 0; b < m_.model.layers; ++b) {
    compute_all(Phase::norm, &DenseSeconds::norm, Pass::forward);
    compute_all(Phase::attention, &DenseSeconds::attention, Pass::forward);
    if (!m_.has_experts(b)) {
      compute_all(Phase::dense_ffn, &DenseSeconds::dense, Pass::forward);
      continue;
    }
    compute_all(Phase::router, &DenseSeconds::router, Pass::forward);
    if (m_.router_meets && s_.ranks > 1) meet(Phase::router, all_reduce(static_cast<double>(m_.experts() * 8)));
    if (m_.claims > 0 && s_.ranks > 1) judge_claims();
    const LayerCost& l = layers_[layer];
    for (i64 r = 0; r < s_.ranks; ++r) serve(r, Phase::plan, l.plan.hands[static_cast<std::size_t>(r)]);
    experts(layer++, Pass::forward);
    compute_all(Phase::expert, &DenseSeconds::side, Pass::forward);
  }
  // The statistics of all layers: two lists of whole numbers over the experts, or only of those that were used.
  const double listed = 16.0 * static_cast<double>(m_.experts()), used = 24.0 * static_cast<double>(m_.batch * m_.model.seq_len) * m_.choices;
  if (m_.moe_layers() > 0) meet(Phase::plan, all_reduce(static_cast<double>(m_.moe_layers()) * std::min(listed, used)));
  compute_all(Phase::head, &DenseSeconds::head, Pass::forward);
  meet(Phase::head, all_reduce(64));
}

// Every claim goes to the rank that judges its expert, and a byte comes back: how many there are, they, and the verdicts, from each rank to each (routing/claim.hpp).
void StepWalk::judge_claims() {
  constexpr double k_trips = 3, k_verdict = 1;
  const double ranks = static_cast<double>(s_.ranks), here = static_cast<double>(c_.ranks_per_node);
  const double pair = static_cast<double>(m_.batch * m_.model.seq_len) * m_.claims / ranks / ranks * (sizeof(routing::Claim) + k_verdict);
  const double wire = between_all(pair) + (c_.nodes > 1 ? k_trips * longest_latency(c_.network, c_.nodes) : k_trips * c_.network.within_latency);
  for (i64 r = 0; r < s_.ranks; ++r) {
    serve(r, Phase::router, 2 * k_trips * (ranks - 1) * c_.network.message_seconds + (here > 1 ? pair * (here - 1) / c_.network.within_bandwidth : 0));
    travel(r, Phase::router, wire);
  }
  meet(Phase::router, 0);
}

/// Seconds on the network between nodes when every rank sends as many bytes to each other one.
double StepWalk::between_all(double bytes) {
  if (c_.nodes == 1) return 0;
  Flow flow{0, c_.nodes, 1, {}, {}};
  for (i64 n = 0; n < c_.nodes; ++n) flow.from.push_back(static_cast<double>(std::min(c_.ranks_per_node, s_.ranks - n * c_.ranks_per_node)));
  flow.to = flow.from;
  LinkLoads loads(c_.network, c_.nodes);
  loads.add(flow, bytes);
  const Transfer transfer{&flow, bytes};
  loads_.add(loads, 1);
  return std::ranges::max(s_.engine.carry(c_, std::span(&transfer, 1), loads));
}

// Ranks of a group meet when their tickets are there, since nobody knows before what will come, and when the results are: some of everybody's tokens are with the last one.
void StepWalk::experts(std::size_t layer, Pass pass) {
  const LayerCost& l = layers_[layer];
  const Trip& back = l.back[static_cast<std::size_t>(pass)];
  const double chunks = static_cast<double>(frame_.travel.chunks);
  const auto wire = [&](const Trip& t, i64 rank) { return t.wire[static_cast<std::size_t>(c_.node_of(rank))]; };
  const auto meet_others = [&](Phase phase) {
    for (i64 g = 0; g < groups_ && group_ranks_ > 1; ++g) clocks_.meet_group(g, phase, 0);
  };
  if (pass == Pass::forward) {
    for (i64 r = 0; r < s_.ranks; ++r) travel(r, Phase::plan, wire(l.plan, r));
    meet_others(Phase::plan);
  }
  for (i64 r = 0; r < s_.ranks; ++r) {
    const std::size_t i = static_cast<std::size_t>(r);
    const double seconds = l.expert[static_cast<std::size_t>(pass)][i];
    serve(r, Phase::exchange, l.there.hands[i]);
    if (chunks > 1) {  // all but one chunk of the shorter is hidden behind the longer
      const double work = slowness(r) * c_.factor(Phase::expert) * seconds, wires = c_.factor(Phase::exchange) * (wire(l.there, r) + wire(back, r));
      compute(r, Phase::expert, seconds);
      clocks_.spend(r, Phase::exchange, std::max(wires, work) + std::min(wires, work) / chunks - work);
    } else {
      travel(r, Phase::exchange, wire(l.there, r));
      compute(r, Phase::expert, seconds);
    }
  }
  meet_others(Phase::exchange);
  for (i64 r = 0; r < s_.ranks; ++r) {
    if (chunks == 1) travel(r, Phase::exchange, wire(back, r));
    serve(r, Phase::exchange, back.hands[static_cast<std::size_t>(r)]);
  }
}

void StepWalk::backward() {
  compute_all(Phase::head, &DenseSeconds::head, Pass::backward);
  std::size_t layer = layers_.size();
  for (i64 b = m_.model.layers; b-- > 0;) {
    if (m_.has_experts(b)) {
      compute_all(Phase::expert, &DenseSeconds::side, Pass::backward);
      for (i64 g = 0; g < groups_ && group_ranks_ > 1; ++g) clocks_.meet_group(g, Phase::exchange, 0);  // gradients of everybody's tokens are needed
      experts(--layer, Pass::backward);
      compute_all(Phase::router, &DenseSeconds::router, Pass::backward);
    } else {
      compute_all(Phase::dense_ffn, &DenseSeconds::dense, Pass::backward);
    }
    compute_all(Phase::attention, &DenseSeconds::attention, Pass::backward);
    compute_all(Phase::norm, &DenseSeconds::norm, Pass::backward);
  }
  compute_all(Phase::embed, &DenseSeconds::embed, Pass::backward);
}

/// Seconds of backward in which the network carries rows and no gradients.
double StepWalk::rows_on_the_wire() const {
  double sum = 0;
  for (const LayerCost& l : layers_) sum += std::ranges::max(l.there.wire) + std::ranges::max(l.back[static_cast<std::size_t>(Pass::backward)].wire);
  return c_.factor(Phase::exchange) * sum;
}

// Every rank adds one slice of the replicated gradients: slices of all go to it, its sum goes to all (comm/lane_sums.hpp). They travel in buckets while backward goes on and the network has nothing else to carry;
// the last bucket has nothing to hide behind. Copies of experts are summed over their group afterwards.
void StepWalk::sync_gradients(double idle_seconds) {
  const double ranks = static_cast<double>(s_.ranks), bytes = m_.dense_parameters() * sizeof(real), slice = bytes / ranks;
  for (i64 r = 0; r < s_.ranks; ++r) {
    Coverage none;
    const Share& share = shares_[static_cast<std::size_t>(r)];
    serve(r, Phase::grad_sync, seconds_of(gradient_work(m_, share, s_.ranks, expert_numbers(r)), c_, none));
  }
  if (s_.ranks == 1) return;
  const double here = static_cast<double>(c_.ranks_per_node), buckets = std::max(1.0, std::ceil(slice / static_cast<double>(comm::k_piece)));
  const double hands = buckets * 4 * (ranks - 1) * c_.network.message_seconds + (here > 1 ? 2 * slice * (here - 1) / c_.network.within_bandwidth : 0);
  const double wire = c_.nodes > 1 ? between_all(2 * slice) + 2 * longest_latency(c_.network, c_.nodes) : 0;
  const double exposed = std::max(wire - idle_seconds, wire / buckets);
  for (i64 r = 0; r < s_.ranks; ++r) {
    double copies = 0;
    if (groups_ > 1) {
      const double sum = 2 * expert_numbers(r) * sizeof(real) * static_cast<double>(groups_ - 1) / static_cast<double>(groups_);
      copies = c_.nodes > 1 ? here * sum / c_.network.nic_bandwidth : sum / c_.network.within_bandwidth;
    }
    serve(r, Phase::grad_sync, hands);
    travel(r, Phase::grad_sync, exposed + copies);
  }
  // The norm: a number for each expert, and the digits of an exact sum.
  const i64 listed = m_.moe.bank == routing::Bank::feed_forward ? m_.moe_layers() * m_.experts() : 0;
  meet(Phase::grad_sync, all_reduce(8.0 * static_cast<double>(listed + k_digits)));
}

void StepWalk::optimizer() {
  for (i64 r = 0; r < s_.ranks; ++r) {
    Coverage none;
    const double touched = sum_over_layers(&LayerCost::touched, r);
    compute(r, Phase::optimizer, seconds_of(optimizer_work(m_, shares_[static_cast<std::size_t>(r)], expert_numbers(r), touched), c_, none));
  }
  meet(Phase::metrics, 0);
}

RankMemory StepWalk::memory(i64 r) const {
  return memory_of(m_, shares_[static_cast<std::size_t>(r)], expert_numbers(r), sum_over_layers(&LayerCost::touched, r), sum_over_layers(&LayerCost::kept, r), sum_over_layers(&LayerCost::arrived, r));
}

Prediction StepWalk::result() {
  Prediction p;
  p.ranks = s_.ranks;
  p.nodes = c_.nodes;
  p.tokens = m_.batch * m_.model.seq_len;
  p.seconds = clocks_.last();
  p.phase_seconds = clocks_.phase_seconds();
  p.wait_seconds = clocks_.wait_seconds();
  p.path_seconds.assign(clocks_.path().begin(), clocks_.path().end());
  p.path_by_rank = clocks_.path_by_rank();
  p.exchange = frame_.travel.in_words();
  p.ideal_seconds = useful_ / static_cast<double>(s_.ranks);
  for (i64 r = 0; r < s_.ranks; ++r) {
    p.memory.push_back(memory(r));
    p.sent_bytes.push_back(sum_over_layers(&LayerCost::sent, r));
    p.between_bytes.push_back(sum_over_layers(&LayerCost::between, r));
  }
  const double tokens = static_cast<double>(p.tokens), d = static_cast<double>(m_.model.width), blocks = static_cast<double>(m_.model.layers), with = static_cast<double>(m_.moe_layers());
  p.flops = tokens * (blocks * (8 * d * d + 4 * d * static_cast<double>(m_.model.seq_len)) + (blocks - with) * 2 * d * static_cast<double>(m_.model.dense_kind.matrices() * m_.model.dense_width) +
                      with * (m_.router_flops + m_.side_flops()) + 2 * d * static_cast<double>(m_.model.vocab));
  const double mean_expert = m_.experts() == 0 ? 0 : [&] {
    double sum = 0;
    for (i64 e = 0; e < m_.experts(); ++e) sum += m_.expert_flops(e);
    return sum / static_cast<double>(m_.experts());
  }();
  for (const LayerCost& l : layers_) {
    p.expert_rows.insert(p.expert_rows.end(), l.rows.begin(), l.rows.end());
    p.flops += mean_expert * std::accumulate(l.rows.begin(), l.rows.end(), 0.0);
    loads_.add(l.loads, 1);
    coverage_.add(l.coverage, 1);
  }
  p.flops *= 3;
  if (c_.nodes > 1) p.links = loads_.busiest(k_links_listed);
  add_notes(p);
  return p;
}

void StepWalk::add_notes(Prediction& p) const {
  const auto share = [](double part, double whole) { return 100 * part / whole; };
  if (coverage_.outside > 0) {
    const RateTable& t = c_.compute.gemm;
    p.notes.push_back(fmt::format("outside of what was measured: {:.2g} % of the time of matrix products is of {:.3g} to {:.3g} rows and widths {:.3g} to {:.3g}; the cluster file has {:.3g} to {:.3g} rows and widths {:.3g} to {:.3g}",
                                  share(coverage_.outside, coverage_.inside + coverage_.outside), coverage_.least_rows, coverage_.most_rows, coverage_.least_width, coverage_.most_width,
                                  t.rows().front(), t.rows().back(), t.widths().front(), t.widths().back()));
  }
  const RateTable& random = c_.memory.random;
  if (m_.moe.bank != routing::Bank::feed_forward && m_.moe_layers() > 0 && !random.at(m_.row_bytes(), random.widths().back()).measured) {
    p.notes.push_back(fmt::format("outside of what was measured: rows of {:.0f} bytes at random places; the cluster file has {:.0f} to {:.0f}", m_.row_bytes(), random.rows().front(), random.rows().back()));
  }
  double message = 0;
  for (const LayerCost& l : layers_) message = std::max(message, l.message);
  if (c_.network.most_message > 0 && message > 0 && (message < c_.network.least_message || message > c_.network.most_message)) {
    p.notes.push_back(fmt::format("outside of what was measured: messages of {:.0f} bytes between nodes; the cluster file has {:.0f} to {:.0f}", message, c_.network.least_message, c_.network.most_message));
  }
  const i64 idle = counts_.count({0, 0}) ? counts_.at({0, 0}) : 0;
  if (idle > 0) p.notes.push_back(fmt::format("{} of {} ranks have no tokens: train.lanes = {}, train.batch_sequences = {}", idle, s_.ranks, m_.lanes, m_.batch));
  if (m_.moe.expert_kind.rounded && c_.compute.bf16.empty()) p.notes.emplace_back("not counted: that products are in bf16, for which the cluster file has no rates");
  if (m_.moe.hyper.on) p.notes.emplace_back("not counted: making the generated experts");
  double most = 0;
  for (i64 n = 0; n < c_.nodes && c_.node_memory > 0; ++n) {
    double sum = 0;
    for (i64 r = n * c_.ranks_per_node; r < std::min(s_.ranks, (n + 1) * c_.ranks_per_node); ++r) sum += p.memory[static_cast<std::size_t>(r)].total();
    most = std::max(most, sum);
  }
  if (most > c_.node_memory) p.notes.push_back(fmt::format("does not fit: a node needs {:.2f} GiB and has {:.2f}", most / (1 << 30), c_.node_memory / (1 << 30)));
}

}  // namespace

double Prediction::mean_of(Phase phase) const {
  double sum = 0;
  for (std::size_t i = static_cast<std::size_t>(phase); i < phase_seconds.size(); i += k_phase_count) sum += phase_seconds[i];
  return sum / static_cast<double>(ranks);
}

i64 Prediction::slowest_rank() const { return std::ranges::max_element(path_by_rank) - path_by_rank.begin(); }

std::string Prediction::path_in_words() const {
  std::vector<std::size_t> order(path_seconds.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return path_seconds[i]; });
  std::vector<std::string> parts;
  for (const std::size_t i : order) {
    if (path_seconds[i] > 0.005 * seconds) parts.push_back(fmt::format("{} {:.0f} %", phase_name(static_cast<Phase>(i)), 100 * path_seconds[i] / seconds));
  }
  const i64 rank = slowest_rank();
  return fmt::format("{}; rank {} is on it for {:.0f} %", fmt::join(parts, ", "), rank, 100 * path_by_rank[static_cast<std::size_t>(rank)] / seconds);
}

Prediction predict(const Scenario& s) {
  if (s.ranks % s.model.data_groups != 0) user_error("parallel.data_groups = {}: must divide the number of ranks, {}", s.model.data_groups, s.ranks);
  return StepWalk(s).walk();
}

}  // namespace pleiad::sim
