#include "pleiad/exchange/all_to_all.hpp"

#include <algorithm>

#include "home.hpp"

#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/local.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::exchange {

namespace {

enum Tag : int { k_rows = 2, k_results, k_weights };

class AllToAllTrip : public RoundTrip, public experts::Pace {
 public:
  /// Rows leave at once, the first chunk first, sends before receives (messages.hpp). What a rank sends to itself is copied once and goes through no
  /// message; its results stay where the experts put them.
  AllToAllTrip(const comm::Communicator& group, Combine combine, ConstMatrixView from, const routing::Assignment& a, const ExchangePlan& plan,
               Matrix& arrived, AllToAllExchanger::Room& room, const Home& home)
      : group_(group), by_entry_(combine == Combine::home), chunks_(plan.out.chunks), a_(a), plan_(plan), arrived_(arrived), room_(room), home_(home),
        width_(from.cols), sent_(group, plan.out.chunks > 1), coming_(group, plan.out.chunks > 1) {
    arrived.resize_uninitialised(plan.in.rows.back(), width_);
    send_rows(from);
    for (i64 c = 0; c < chunks_; ++c) {
      arriving_.emplace_back(group, chunks_ > 1);
      for_each_other(group, [&](i64 r) {
        const Range rows = plan.in.part(plan.in.rows, r, c);
        if (rows.count) arriving_.back().receive(r, k_rows, {comm::part(arrived.row(rows.begin), rows.count * width_)});
      });
    }
    copy_rows(from, plan.out.all(plan.out.rows, group.rank()), group.rank(), arrived.row(plan.in.all(plan.in.rows, group.rank()).begin));
  }

  ConstMatrixView arrive() override {
    for (comm::Messages& rows : arriving_) rows.wait();
    return arrived_;
  }

  ConstMatrixView begin() override {
    paced_ = true;
    return arrived_;
  }

  experts::Landing landing() override {
    experts::Pace* pace = paced_ ? this : nullptr;
    if (by_entry_) {
      room_.results.resize_uninitialised(plan_.rows(), width_);
      return {room_.results, plan_.row_entry, false, pace};
    }
    room_.results.resize(plan_.in.sums.back(), width_);
    return {room_.results, plan_.sum_place, true, pace};
  }

  /// Enters chunks whose first row is reached: what is done leaves, what comes next is waited for.
  void reach(i64 row) override {
    PLEIAD_CHECK(!plan_.chunk_begin.empty(), "experts one by one, and chunks of tokens");
    for (; entered_ < chunks_ && row >= plan_.chunk_begin[static_cast<std::size_t>(entered_)]; ++entered_) {
      if (entered_ > 0) depart(entered_ - 1);
      arriving_[static_cast<std::size_t>(entered_)].wait();
    }
    look();
  }

  /// Of a chunk the tokens of this rank first: they are there.
  Range next() override {
    PLEIAD_CHECK(plan_.chunk_begin.empty() || chunks_ == 1, "tokens one by one, and chunks of experts");
    look();
    Range tokens;
    while (tokens.count == 0 && step_ < chunks_ * group_.size()) {
      const i64 chunk = step_ / group_.size(), place = step_ % group_.size();
      if (place == 1) arriving_[static_cast<std::size_t>(chunk)].wait();
      tokens = plan_.in.part(plan_.in.rows, (group_.rank() + place) % group_.size(), chunk);
      if (place == 0 && chunk > 0) depart(chunk - 1);
      ++step_;
    }
    // In one chunk the gradients of weights go along, which are not there yet.
    if (tokens.count == 0 && chunks_ > 1 && departed_ < chunks_) depart(chunks_ - 1);
    return tokens;
  }

  void leave(std::span<const real> d_row_weight) override {
    arrive();
    room_.weights_there.resize(d_row_weight.size());
    room_.weights_back.resize(static_cast<std::size_t>(home_.forward ? 0 : plan_.out.entries.back()));
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) room_.weights_there[static_cast<std::size_t>(plan_.row_entry[r])] = d_row_weight[r];
    while (departed_ < chunks_) depart(departed_);
    if (home_.forward || chunks_ == 1) return;
    for_each_other(group_, [&](i64 r) {
      if (weights_out(r).bytes) sent_.send(r, k_weights, {weights_out(r)});
    });
    for_each_other(group_, [&](i64 r) {
      if (weights_in(r).bytes) coming_.receive(r, k_weights, {weights_in(r)});
    });
  }

  void finish() override {
    coming_.wait();
    sent_.wait();
    if (by_entry_) {
      sum_at_home(home_, plan_, a_, home_.forward, [this](i64 slot) { return back(slot); });
    } else {
      sum_by_rank();
    }
    const Range own = plan_.out.all(plan_.out.entries, group_.rank());
    const i64 own_there = plan_.in.all(plan_.in.entries, group_.rank()).begin;
    for (std::size_t i = 0; i < home_.d_weight.size(); ++i) {
      const i64 slot = plan_.return_slot[i];
      if (slot < 0) home_.d_weight[i] = 0;
      else if (slot >= own.begin && slot < own.end()) home_.d_weight[i] = room_.weights_there[static_cast<std::size_t>(own_there + slot - own.begin)];
      else home_.d_weight[i] = room_.weights_back[static_cast<std::size_t>(slot)];
    }
  }

 private:
  void look() {
    for (int i = 0; i < k_looks && anything_travels(); ++i) {
    }
  }
  /// Moves messages on. Whichever are asked for, all do.
  bool anything_travels() { return !sent_.advance() || !coming_.advance() || !arriving_.back().advance(); }
  const std::vector<i64>& there() const { return by_entry_ ? plan_.in.entries : plan_.in.sums; }
  const std::vector<i64>& here() const { return by_entry_ ? plan_.out.entries : plan_.out.sums; }
  comm::Part weights_out(i64 r) {
    const Range n = plan_.in.all(plan_.in.entries, r);
    return comm::part(room_.weights_there.data() + n.begin, n.count);
  }
  comm::Part weights_in(i64 r) {
    const Range n = plan_.out.all(plan_.out.entries, r);
    return comm::part(room_.weights_back.data() + n.begin, n.count);
  }

  /// The token of a row that goes to rank r.
  i64 token_sent(i64 row, i64 r) const {
    return plan_.all_to_all_ranks ? row - plan_.out.all(plan_.out.rows, r).begin : plan_.send_token[static_cast<std::size_t>(row)];
  }

  void copy_rows(ConstMatrixView from, const Range& rows, i64 r, real* to) const {
    for (i64 i = rows.begin; i < rows.end(); ++i, to += width_) std::copy_n(from.row(token_sent(i, r)), width_, to);
  }

  void send_rows(ConstMatrixView from) {
    const bool as_they_lie = plan_.all_to_all_ranks && from.contiguous();
    room_.packed.resize_uninitialised(as_they_lie ? 0 : plan_.out.rows.back(), width_);
    for (i64 c = 0; c < chunks_; ++c) {
      for_each_other(group_, [&](i64 r) {
        const Range rows = plan_.out.part(plan_.out.rows, r, c);
        if (rows.count == 0) return;
        if (!as_they_lie) copy_rows(from, rows, r, room_.packed.row(rows.begin));
        sent_.send(r, k_rows, {comm::part(as_they_lie ? from.row(token_sent(rows.begin, r)) : room_.packed.row(rows.begin), rows.count * width_)});
      });
    }
  }

  /// Results of a chunk go home. In one chunk the gradients of weights go with them.
  void depart(i64 chunk) {
    const bool with_weights = !home_.forward && chunks_ == 1;
    if (chunk == 0) room_.returned.resize_uninitialised(here().back(), width_);
    for_each_other(group_, [&](i64 r) {
      const Range rows = plan_.in.part(there(), r, chunk);
      if (rows.count) sent_.send(r, k_results, {comm::part(room_.results.row(rows.begin), rows.count * width_), with_weights ? weights_out(r) : comm::Part{}});
    });
    for_each_other(group_, [&](i64 r) {
      const Range rows = plan_.out.part(here(), r, chunk);
      if (rows.count) coming_.receive(r, k_results, {comm::part(room_.returned.row(rows.begin), rows.count * width_), with_weights ? weights_in(r) : comm::Part{}});
    });
    departed_ = chunk + 1;
  }

  /// Row `slot` of those that come back; those of this rank itself are where its experts put them.
  const real* back(i64 slot) const {
    const Range own = plan_.out.all(here(), group_.rank());
    return slot >= own.begin && slot < own.end() ? room_.results.row(plan_.in.all(there(), group_.rank()).begin + slot - own.begin) : room_.returned.row(slot);
  }

  void sum_by_rank() {
    if (home_.forward) clear_rows(home_.sum);
    for (std::size_t i = 0; i < plan_.sum_token.size(); ++i) ops::vec::add(back(static_cast<i64>(i)), home_.sum.row(plan_.sum_token[i]), width_);
    const i64 tokens = home_.sum.rows;
    for (i64 t = 0; plan_.all_to_all_ranks && t < tokens; ++t) {
      for (i64 r = 0; r < group_.size(); ++r) ops::vec::add(back(r * tokens + t), home_.sum.row(t), width_);
    }
  }

  const comm::Communicator& group_;
  bool by_entry_, paced_ = false;
  i64 chunks_, entered_ = 0, departed_ = 0, step_ = 0;
  const routing::Assignment& a_;
  const ExchangePlan& plan_;
  Matrix& arrived_;
  AllToAllExchanger::Room& room_;
  Home home_;
  i64 width_;
  comm::Messages sent_, coming_;         // of both ways; results
  std::vector<comm::Messages> arriving_;  // [chunks]
};

}  // namespace

std::unique_ptr<RoundTrip> AllToAllExchanger::start_forward(ConstMatrixView x, const routing::Assignment& a, const ExchangePlan& plan, Kept& kept,
                                                            MatrixView y) const {
  auto trip = std::make_unique<AllToAllTrip>(group_, combine_, x, a, plan, kept.rows, room_, Home{y, {}, true});
  kept.tokens = kept.rows;
  return trip;
}

std::unique_ptr<RoundTrip> AllToAllExchanger::start_backward(ConstMatrixView d_y, const routing::Assignment& a, const ExchangePlan& plan,
                                                             MatrixView d_x, std::span<real> d_weight) const {
  return std::make_unique<AllToAllTrip>(group_, combine_, d_y, a, plan, room_.arrived, room_, Home{d_x, d_weight, false});
}

}  // namespace pleiad::exchange
