#include "pleiad/model/shadow_experts.hpp"

#include <algorithm>
#include <numeric>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/comm/messages.hpp"
#include "pleiad/exchange/local.hpp"
#include "pleiad/ops/vec.hpp"

namespace pleiad::model {

namespace {

// Not those of the exchanges, which use the same communicator.
enum Tag : int { k_weights = 31, k_gradients };

std::vector<ParamId> parameters_of(const ParamSet& params, i64 slot) {
  std::vector<ParamId> ids;
  for (const ParamInfo& p : params.infos()) {
    if (p.slot == slot) ids.push_back({p.index});
  }
  return ids;
}

}  // namespace

ShadowExperts::ShadowExperts(const ShadowConfig& config, const experts::ExpertBank& bank, experts::FeedForwardKind kind, i64 width,
                             const std::vector<i64>& widths, const ExpertMap& map, const comm::Communicator& group, i64 first_slot)
    : config_(config), bank_(bank), kind_(kind), width_(width), widths_(widths), map_(map), group_(group), nodes_(exchange::nodes_of(group)), first_slot_(first_slot) {}

i64 ShadowExperts::ranks_elsewhere(i64 rank) const {
  i64 ranks = 0;
  for (i64 r = 0; r < group_.size(); ++r) ranks += place(r) != place(rank);
  return ranks;
}

/// Rows of this rank's tokens that need not travel if an expert is lent, both passes, [N]: there if the token goes to that place for no other expert, and
/// home (sums at the owner: on the same condition).
std::vector<i64> ShadowExperts::rows_saved(const routing::Assignment& a) const {
  std::vector<i64> saved(static_cast<std::size_t>(map_.experts()), 0);
  const auto place_of = [&](i64 entry) { return place(map_.owner(a.expert[entry])); };
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      if (!a.kept[i] || place_of(i) == place(group_.rank())) continue;
      i64 same = 0;
      for (i64 j = a.offset[t]; j < a.offset[t + 1]; ++j) same += a.kept[j] && place_of(j) == place_of(i);
      saved[a.expert[i]] += 2 * (same == 1) + 2 * (same == 1 || config_.combine == exchange::Combine::home);
    }
  }
  return saved;
}

// Whole numbers, summed over the group: the same decision on every rank, and again when a run is resumed.
void ShadowExperts::decide(const routing::Assignment& a, ShadowTrace& trace) const {
  std::vector<i64> gain = rows_saved(a);
  comm::all_reduce_sum<i64>(group_, gain);
  std::vector<i64> order;
  for (i64 e = 0; e < map_.experts(); ++e) {
    gain[e] = gain[e] * width_ - 2 * ranks_elsewhere(map_.owner(e)) * bank_.parameters_of(e);
    if (gain[e] > 0) order.push_back(e);
  }
  std::ranges::stable_sort(order, [&](i64 l, i64 r) { return gain[l] > gain[r]; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(config_.most)));
  std::ranges::sort(order);
  for (const i64 e : order) (map_.owner(e) == group_.rank() ? trace.lent : trace.borrowed).push_back(e);
}

void ShadowExperts::choose(const routing::Assignment& a, const LaneLayout& lanes, ShadowTrace& trace) const {
  if (group_.size() == 1) return;
  decide(a, trace);
  if (!trace.borrowed.empty()) split(a, lanes, trace);
}

void ShadowExperts::split(const routing::Assignment& a, const LaneLayout& lanes, ShadowTrace& trace) const {
  trace.travelling = a;
  routing::Assignment here;
  here.experts = static_cast<i64>(trace.borrowed.size());
  for (i64 t = 0; t < a.tokens(); ++t) {
    for (i64 i = a.offset[t]; i < a.offset[t + 1]; ++i) {
      const auto found = std::ranges::lower_bound(trace.borrowed, i64{a.expert[i]});
      if (!a.kept[i] || found == trace.borrowed.end() || *found != a.expert[i]) continue;
      trace.travelling.kept[i] = 0;
      trace.entry.push_back(static_cast<std::int32_t>(i));
      here.expert.push_back(static_cast<std::int32_t>(found - trace.borrowed.begin()));
      here.weight.push_back(a.weight[i]);
      here.kept.push_back(1);
    }
    here.offset.push_back(here.entries());
  }
  std::vector<i64> widths;
  for (const i64 e : trace.borrowed) widths.push_back(widths_[e]);
  const ExpertMap all_here(ExpertPlacement::block, widths, 1);
  trace.plan = exchange::LocalExchanger().make_plan(here, all_here, lanes, width_);
  trace.room = std::make_unique<ParamSet>();
  trace.bank = std::make_unique<experts::FfnBank>(*trace.room, "", kind_, width_, widths, all_here, 0, 0, 1);
  trace.room->allocate();
}

void ShadowExperts::add_traffic(ShadowTrace& trace, exchange::ExchangePlan& plan) const {
  exchange::Traffic more;
  const auto count = [&](i64 expert, i64 to, i64& bytes, i64& messages) {
    const i64 n = bank_.parameters_of(expert) * static_cast<i64>(sizeof(real));
    bytes += n;
    messages += kind_.matrices() + (kind_.bias ? 2 : 0);
    if (nodes_.node_of(to) != nodes_.node_of(group_.rank())) more.between_bytes += n;
    if (!plan.bytes_to.empty()) plan.bytes_to[to] += n;
  };
  comm::for_each_other(group_, [&](i64 r) {
    for (const i64 e : trace.lent) count(e, r, more.forward_bytes, more.forward_messages);
  });
  for (const i64 e : trace.borrowed) count(e, map_.owner(e), more.backward_bytes, more.backward_messages);
  plan.traffic += more;
  trace.bytes = more.bytes();
}

void ShadowExperts::lend_weights(const ParamSet& params, ShadowTrace& trace) const {
  comm::Messages messages(group_);
  for (const i64 e : trace.lent) {
    for (const ParamId id : parameters_of(params, first_slot_ + e)) {
      const auto weights = params.value(id).flat();
      comm::for_each_other(group_, [&](i64 r) { messages.send(r, k_weights, {comm::part(weights.data(), static_cast<i64>(weights.size()))}); });
    }
  }
  for (std::size_t i = 0; i < trace.borrowed.size(); ++i) {
    for (const ParamId id : parameters_of(*trace.room, static_cast<i64>(i))) {
      const auto weights = trace.room->value(id).flat();
      messages.receive(map_.owner(trace.borrowed[i]), k_weights, {comm::part(weights.data(), static_cast<i64>(weights.size()))});
    }
  }
  messages.wait();
}

void ShadowExperts::forward(const ParamSet& params, ConstMatrixView x, const StepContext& context, ShadowTrace& trace, MatrixView y) const {
  {
    PhaseTimes::Scope phase(context.times, Phase::exchange);
    lend_weights(params, trace);
  }
  if (trace.borrowed.empty()) return;
  PhaseTimes::Scope phase(context.times, Phase::expert);
  trace.bank->forward(*trace.room, x, trace.plan.at_experts, trace.values, {y, trace.plan.at_experts.token, true});
}

void ShadowExperts::backward(ParamSet& params, ConstMatrixView x, ConstMatrixView d_y, const StepContext& context, const ShadowTrace& trace,
                             MatrixView d_x, std::span<real> d_weight) const {
  if (!trace.borrowed.empty()) {
    PhaseTimes::Scope phase(context.times, Phase::expert);
    trace.room->allocate_grads(1);
    std::vector<real> d_row_weight(static_cast<std::size_t>(trace.plan.rows()));
    trace.bank->backward(*trace.room, x, trace.plan.at_experts, trace.values, d_y, {d_x, trace.plan.at_experts.token, true}, d_row_weight);
    for (std::size_t r = 0; r < d_row_weight.size(); ++r) d_weight[static_cast<std::size_t>(trace.entry[trace.plan.home[r].entry])] = d_row_weight[r];
  }
  PhaseTimes::Scope phase(context.times, Phase::exchange);
  return_gradients(params, trace);
}

void ShadowExperts::return_gradients(ParamSet& params, const ShadowTrace& trace) const {
  comm::Messages messages(group_);
  for (std::size_t i = 0; i < trace.borrowed.size(); ++i) {
    for (const ParamId id : parameters_of(*trace.room, static_cast<i64>(i))) {
      const auto grad = trace.room->grad(id).flat();
      messages.send(map_.owner(trace.borrowed[i]), k_gradients, {comm::part(grad.data(), static_cast<i64>(grad.size()))});
    }
  }
  struct Arriving {
    std::span<real> into;
    std::vector<real> grad;
  };
  std::vector<Arriving> arriving;  // by expert, parameter, then rank
  for (const i64 e : trace.lent) {
    for (const ParamId id : parameters_of(params, first_slot_ + e)) {
      const auto into = params.grad(id).flat();
      for (i64 r = 0; r < group_.size(); ++r) {
        if (r == group_.rank()) continue;
        arriving.push_back({into, std::vector<real>(into.size())});
        messages.receive(r, k_gradients, {comm::part(arriving.back().grad.data(), static_cast<i64>(into.size()))});
      }
    }
  }
  messages.wait();
  for (const Arriving& a : arriving) ops::vec::add(a.grad.data(), a.into.data(), static_cast<i64>(a.into.size()));
}

}  // namespace pleiad::model
