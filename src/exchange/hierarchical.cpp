#include "pleiad/exchange/hierarchical.hpp"

#include <algorithm>

#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/node_plan.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::exchange {

namespace {

enum Tag : int { k_rows = 12, k_results };

/// How one direction of travel ends: forward sums weighted results, backward adds gradients and brings those of the weights.
struct Home {
  MatrixView sum;
  std::span<real> d_weight;  // empty forward
  bool forward;
};

class HierarchicalTrip : public RoundTrip {
 public:
  /// Rows leave at once, sends before receives (messages.hpp). Nobody still reads the boxes of the trip before: all ranks have met since then, in its leave().
  HierarchicalTrip(const comm::Communicator& group, Combine combine, bool several_nodes, ConstMatrixView from, const routing::Assignment& a,
                   const ExchangePlan& plan, comm::SharedMemory& boxes, HierarchicalExchanger::Room& room, const Home& home)
      : by_entry_(combine == Combine::home), several_nodes_(several_nodes), a_(a), plan_(plan), nodes_(*plan.nodes), boxes_(boxes), room_(room),
        home_(home), width_(from.cols), in_(group), out_(group) {
    boxes.reserve(nodes_.box_rows * width_ * k_real);
    for (const Put& p : nodes_.put) {
      real* to = box_row(p.place);
      for (i64 i = p.first; i < p.first + p.count; ++i, to += width_) std::copy_n(from.row(nodes_.put_token[static_cast<std::size_t>(i)]), width_, to);
    }
    boxes.meet();
    for (const PortMessages& p : nodes_.ports) send(p.peer, k_rows, boxes, p.rows_out, {}, {});
    for (const PortMessages& p : nodes_.ports) receive(p.peer, k_rows, boxes, p.rows_in, {}, {});
  }

  ConstMatrixView arrive() override {
    if (several_nodes_) {
      in_.wait();
      boxes_.meet();
    }
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
    return {results, nodes_.landing, !by_entry_};
  }

  void leave(std::span<const real> d_row_weight) override {
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) weights()[nodes_.weight_place[r]] = d_row_weight[r];
    room_.results.meet();
    if (!several_nodes_) return;
    if (!by_entry_) {
      sum_on_node();
      room_.results.meet();
    }
    for (const PortMessages& p : nodes_.ports) send(p.peer, k_results, room_.results, p.results_out, weights(), p.weights_out);
    for (const PortMessages& p : nodes_.ports) receive(p.peer, k_results, room_.results, p.results_in, weights(), p.weights_in);
  }

  void finish() override {
    in_.wait();
    out_.wait();
    if (several_nodes_) room_.results.meet();
    const HomeEntry *e = plan_.home.data(), *end = e + plan_.home.size();
    const real* results = room_.results.as<real>();
    for (i64 t = 0; t < home_.sum.rows; ++t) {
      real* to = home_.sum.row(t);
      if (home_.forward) std::fill_n(to, width_, real{0});
      for (; e != end && e->token == t; ++e) {
        const real* row = results + e->slot * width_;
        home_.forward && by_entry_ ? ops::vec::axpy(a_.weight[static_cast<std::size_t>(e->entry)], row, to, width_) : ops::vec::add(row, to, width_);
      }
    }
    for (std::size_t i = 0; i < home_.d_weight.size(); ++i) home_.d_weight[i] = plan_.return_slot[i] < 0 ? 0 : weights()[plan_.return_slot[i]];
  }

 private:
  static constexpr i64 k_real = static_cast<i64>(sizeof(real));

  real* box_row(i64 row) const { return boxes_.as<real>() + row * width_; }
  /// The gradients of weights lie behind the results; nothing forward.
  real* weights() const { return home_.forward ? nullptr : room_.results.as<real>() + nodes_.result_rows * width_; }

  /// This rank's share of what its node sends away.
  void sum_on_node() {
    std::int32_t last = -1;
    for (const NodeSum& s : nodes_.sums) {
      const real* from = room_.results.as<real>() + s.from * width_;
      real* to = room_.results.as<real>() + s.to * width_;
      s.to == last ? ops::vec::add(from, to, width_) : static_cast<void>(std::copy_n(from, width_, to));
      last = s.to;
    }
  }

  void receive(i64 peer, Tag tag, const comm::SharedMemory& memory, const Range& rows, const real* numbers, const Range& of) {
    if (rows.count == 0) return;
    in_.receive(peer, tag, {comm::part(memory.as<real>() + rows.begin * width_, rows.count * width_), numbers ? comm::part(numbers + of.begin, of.count) : comm::Part{}});
  }
  void send(i64 peer, Tag tag, const comm::SharedMemory& memory, const Range& rows, const real* numbers, const Range& of) {
    if (rows.count == 0) return;
    out_.send(peer, tag, {comm::part(memory.as<real>() + rows.begin * width_, rows.count * width_), numbers ? comm::part(numbers + of.begin, of.count) : comm::Part{}});
  }

  bool by_entry_, several_nodes_;
  const routing::Assignment& a_;
  const ExchangePlan& plan_;
  const NodePlan& nodes_;
  comm::SharedMemory& boxes_;
  HierarchicalExchanger::Room& room_;
  Home home_;
  i64 width_;
  comm::Messages in_, out_;
};

}  // namespace

HierarchicalExchanger::HierarchicalExchanger(const comm::Communicator& group, Combine combine, NodeLayout nodes)
    : group_(group), combine_(combine), layout_(std::move(nodes)), node_(group.split(layout_.node_of(group.rank()), group.rank())), room_(node_) {}

std::unique_ptr<RoundTrip> HierarchicalExchanger::start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                                                MatrixView y) const {
  if (!kept.shared) kept.shared = std::make_unique<comm::SharedMemory>(node_);
  auto trip = std::make_unique<HierarchicalTrip>(group_, combine_, layout_.nodes() > 1, x, a, plan, *kept.shared, room_, Home{y, {}, true});
  kept.tokens = trip->tokens();
  return trip;
}

std::unique_ptr<RoundTrip> HierarchicalExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan,
                                                                 MatrixView d_x, std::span<real> d_weight) const {
  return std::make_unique<HierarchicalTrip>(group_, combine_, layout_.nodes() > 1, d_y, a, plan, room_.rows, room_, Home{d_x, d_weight, false});
}

}  // namespace pleiad::exchange
