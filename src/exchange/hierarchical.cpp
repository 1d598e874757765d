#include "pleiad/exchange/hierarchical.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include "home.hpp"

#include "pleiad/comm/messages.hpp"
#include "pleiad/core/whereabouts.hpp"
#include "pleiad/exchange/chunks.hpp"
#include "pleiad/exchange/node_plan.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::exchange {

namespace {

enum Tag : int { k_rows = 12, k_results, k_weights };

/// How many chunks each rank of a node has done with, by stage. The numbers only grow, from trip to trip, so nothing is ever reset.
class Marks {
 public:
  enum Stage { arrived, worked, summed };
  static constexpr i64 k_stages = 3;

  Marks(const comm::Communicator& node, const comm::SharedMemory& memory, i64 trip)
      : numbers_(memory.as<i64>()), ranks_(node.size()), me_(node.rank()), before_(trip * (k_most_chunks + 1)) {}

  void set(Stage stage, i64 chunks) const { at(stage, me_).store(before_ + chunks, std::memory_order_release); }
  /// Whether every rank of the node has done with so many.
  bool all(Stage stage, i64 chunks) const {
    for (i64 r = 0; r < ranks_; ++r) {
      if (at(stage, r).load(std::memory_order_acquire) < before_ + chunks) return false;
    }
    return true;
  }

 private:
  std::atomic_ref<i64> at(Stage stage, i64 rank) const { return std::atomic_ref<i64>(numbers_[stage * ranks_ + rank]); }

  i64* numbers_;
  i64 ranks_, me_, before_;
};

class HierarchicalTrip : public RoundTrip, public experts::Pace {
 public:
  /// Rows leave at once, the first chunk first, sends before receives (messages.hpp). Nobody still reads the boxes of the trip before: all ranks of the
  /// node have met since then, in its leave() or finish().
  HierarchicalTrip(const comm::Communicator& group, const comm::Communicator& node, Combine combine, bool several_nodes, i64 chunks, ConstMatrixView from,
                   const routing::Assignment& a, const ExchangePlan& plan, comm::SharedMemory& boxes, HierarchicalExchanger::Room& room, const Home& home)
      : by_entry_(combine == Combine::home), several_nodes_(several_nodes), chunks_(chunks), a_(a), plan_(plan), nodes_(*plan.nodes), boxes_(boxes), room_(room),
        home_(home), width_(from.cols), marks_(node, room.marks, ++room.trips), sent_(group, chunks > 1), coming_(group, chunks > 1) {
    boxes.reserve(nodes_.box_rows * width_ * k_real);
    for (const Put& p : nodes_.put) std::copy_n(from.row(p.token), width_, boxes.as<real>() + p.row * width_);
    boxes.meet();
    for (i64 c = 0; c < chunks_; ++c) {
      for (const PortMessages& p : nodes_.ports) send(p.peer, k_rows, rows_of(boxes_, chunk(p, c).rows_out));
    }
    for (i64 c = 0; several_nodes_ && c < chunks_; ++c) {
      arriving_.emplace_back(group, chunks_ > 1);
      for (const PortMessages& p : nodes_.ports) receive(arriving_.back(), p.peer, k_rows, rows_of(boxes_, chunk(p, c).rows_in));
    }
  }

  ConstMatrixView arrive() override {
    const Waiting waiting("rows of other nodes");
    while (!is_here(chunks_)) pass_time();
    return tokens();
  }

  ConstMatrixView begin() override {
    paced_ = true;
    return tokens();
  }

  /// Where they lie or will lie.
  ConstMatrixView tokens() const { return {boxes_.as<real>(), nodes_.box_rows, width_}; }

  // Nobody still reads the results of the trip before: all ranks have met since then, when rows were in their boxes.
  experts::Landing landing() override {
    const i64 weights = home_.forward ? 0 : nodes_.weights;
    room_.results.reserve((nodes_.result_rows * width_ + weights) * k_real);
    const MatrixView results(room_.results.as<real>(), nodes_.result_rows, width_);
    if (!by_entry_) std::fill_n(results.row(nodes_.partial.begin), nodes_.partial.count * width_, real{0});
    return {results, nodes_.landing, !by_entry_, paced_ && several_nodes_ ? this : nullptr};
  }

  /// Enters chunks whose first row is reached: what is done is told to the node, what comes next is waited for.
  void reach(i64 row) override {
    const i64 before = entered_;
    for (; entered_ < chunks_ && row >= plan_.chunk_begin[static_cast<std::size_t>(entered_)]; ++entered_) {
      marks_.set(Marks::worked, entered_);
      const Waiting waiting("rows of other nodes");
      while (!is_here(entered_ + 1)) pass_time();
    }
    for (int i = 0; entered_ == before && i < k_looks && !advance(); ++i) {
    }
  }

  /// Tokens of this node first: they are there. For banks that take tokens one by one everything travels in one chunk.
  Range next() override {
    PLEIAD_CHECK(chunks_ == 1, "tokens one by one, and {} chunks of experts", chunks_);
    const Range near = nodes_.near, parts[] = {near, {0, near.begin}, {near.end(), nodes_.box_rows - near.end()}};
    Range tokens;
    for (; tokens.count == 0 && asked_ < 3; ++asked_) {
      if (asked_ == 1) arrive();
      tokens = parts[asked_];
    }
    return tokens;
  }

  void leave(std::span<const real> d_row_weight) override {
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) weights()[nodes_.weight_place[r]] = d_row_weight[r];
    if (!several_nodes_) {
      room_.results.meet();
      return;
    }
    arrive();
    marks_.set(Marks::worked, chunks_);
    {
      const Waiting waiting("results of the node");
      while (departed_ < chunks_) pass_time();
    }
    if (home_.forward || chunks_ == 1) return;
    for (const PortMessages& p : nodes_.ports) send(p.peer, k_weights, {comm::part(weights() + p.weights_out.begin, p.weights_out.count)});
    for (const PortMessages& p : nodes_.ports) receive(coming_, p.peer, k_weights, {comm::part(weights() + p.weights_in.begin, p.weights_in.count)});
  }

  void finish() override {
    coming_.wait();
    sent_.wait();
    if (several_nodes_) room_.results.meet();
    const real* results = room_.results.as<real>();
    sum_at_home(home_, plan_, a_, home_.forward && by_entry_, [&](i64 slot) { return results + slot * width_; });
    for (std::size_t i = 0; i < home_.d_weight.size(); ++i) home_.d_weight[i] = plan_.return_slot[i] < 0 ? 0 : weights()[plan_.return_slot[i]];
  }

 private:
  static constexpr i64 k_real = static_cast<i64>(sizeof(real));

  /// The gradients of weights lie behind the results; nothing forward.
  real* weights() const { return home_.forward ? nullptr : room_.results.as<real>() + nodes_.result_rows * width_; }
  static const PortChunk& chunk(const PortMessages& port, i64 c) { return port.chunks[static_cast<std::size_t>(c)]; }
  comm::Part rows_of(const comm::SharedMemory& memory, const Range& rows) const {
    return comm::part(memory.as<real>() + rows.begin * width_, rows.count * width_);
  }

  /// Whether the rows of the first so many chunks are in the memory of the node, whoever brings them.
  bool is_here(i64 chunks) {
    if (several_nodes_) advance();
    return !several_nodes_ || marks_.all(Marks::arrived, chunks);
  }

  /// Where one has to wait: another rank of this node may need the core.
  void pass_time() {
    advance();
    std::this_thread::yield();
  }

  /// Lets everything travel that can, and tells the node how far it came. True if nothing of this rank is under way.
  bool advance() {
    while (announced_ < chunks_ && arriving_[static_cast<std::size_t>(announced_)].advance()) marks_.set(Marks::arrived, ++announced_);
    while (departed_ < chunks_ && may_leave(departed_)) send_results(departed_++);
    const bool sent = sent_.advance(), came = coming_.advance();
    return sent && came && announced_ == chunks_;
  }

  /// Whether all ranks of the node have done their part of a chunk's results. With sums on the node this rank's share of them is made here.
  bool may_leave(i64 chunk) {
    if (!marks_.all(Marks::worked, chunk + 1)) return false;
    if (by_entry_) return true;
    if (summed_ == chunk) {
      sum_on_node(chunk);
      marks_.set(Marks::summed, ++summed_);
    }
    return marks_.all(Marks::summed, chunk + 1);
  }

  void sum_on_node(i64 chunk) {
    const std::size_t end = static_cast<std::size_t>(nodes_.sums_begin[static_cast<std::size_t>(chunk) + 1]);
    std::int32_t last = -1;
    for (std::size_t i = static_cast<std::size_t>(nodes_.sums_begin[static_cast<std::size_t>(chunk)]); i < end; ++i) {
      const NodeSum& s = nodes_.sums[i];
      const real* from = room_.results.as<real>() + s.from * width_;
      real* to = room_.results.as<real>() + s.to * width_;
      s.to == last ? ops::vec::add(from, to, width_) : static_cast<void>(std::copy_n(from, width_, to));
      last = s.to;
    }
  }

  /// In one chunk the gradients of weights go with the results.
  void send_results(i64 c) {
    const auto weights_of = [&](const Range& of) { return home_.forward || chunks_ > 1 ? comm::Part{} : comm::part(weights() + of.begin, of.count); };
    for (const PortMessages& p : nodes_.ports) send(p.peer, k_results, rows_of(room_.results, chunk(p, c).results_out), weights_of(p.weights_out));
    for (const PortMessages& p : nodes_.ports) receive(coming_, p.peer, k_results, rows_of(room_.results, chunk(p, c).results_in), weights_of(p.weights_in));
  }

  void send(i64 peer, Tag tag, const comm::Part& rows, const comm::Part& weights = {}) {
    if (rows.bytes) sent_.send(peer, tag, {rows, weights});
  }
  static void receive(comm::Messages& into, i64 peer, Tag tag, const comm::Part& rows, const comm::Part& weights = {}) {
    if (rows.bytes) into.receive(peer, tag, {rows, weights});
  }

  bool by_entry_, several_nodes_, paced_ = false;
  i64 chunks_;
  const routing::Assignment& a_;
  const ExchangePlan& plan_;
  const NodePlan& nodes_;
  comm::SharedMemory& boxes_;
  HierarchicalExchanger::Room& room_;
  Home home_;
  i64 width_;
  Marks marks_;
  int asked_ = 0;
  i64 announced_ = 0, entered_ = 0, summed_ = 0, departed_ = 0;  // chunks: here, begun by the experts, summed by this rank, sent home
  comm::Messages sent_, coming_;                                 // of both ways; results
  std::vector<comm::Messages> arriving_;                         // [chunks]
};

}  // namespace

HierarchicalExchanger::HierarchicalExchanger(const comm::Communicator& group, Combine combine, NodeLayout nodes, i64 chunks)
    : group_(group), combine_(combine), layout_(std::move(nodes)), chunks_(layout_.nodes() > 1 ? chunks : 1),
      node_(group.split(layout_.node_of(group.rank()), group.rank())), room_(node_) {
  const i64 marks = node_.size() * Marks::k_stages;
  room_.marks.reserve(marks * static_cast<i64>(sizeof(i64)));
  if (node_.root()) std::fill_n(room_.marks.as<i64>(), marks, i64{0});
  room_.marks.meet();
}

std::unique_ptr<RoundTrip> HierarchicalExchanger::start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                                                MatrixView y) const {
  if (!kept.shared) kept.shared = std::make_unique<comm::SharedMemory>(node_);
  auto trip = std::make_unique<HierarchicalTrip>(group_, node_, combine_, layout_.nodes() > 1, chunks_, x, a, plan, *kept.shared, room_, Home{y, {}, true});
  kept.tokens = trip->tokens();
  return trip;
}

std::unique_ptr<RoundTrip> HierarchicalExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan,
                                                                 MatrixView d_x, std::span<real> d_weight) const {
  return std::make_unique<HierarchicalTrip>(group_, node_, combine_, layout_.nodes() > 1, chunks_, d_y, a, plan, room_.rows, room_, Home{d_x, d_weight, false});
}

}  // namespace pleiad::exchange
