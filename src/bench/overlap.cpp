#include "pleiad/bench/overlap.hpp"

#include <algorithm>
#include <cstring>

#include "pleiad/comm/collectives.hpp"

namespace pleiad::bench {

namespace {

i64 different(std::span<const real> a, std::span<const real> b) {
  i64 count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += std::memcmp(&a[i], &b[i], sizeof(real)) != 0;
  return count;
}

}  // namespace

OverlapBench::OverlapBench(LayerBench& layer, const exchange::Exchanger& together, const exchange::Exchanger& alone)
    : layer_(layer), bank_(layer.layer().bank()), together_(together), alone_(alone) {
  layer_.forward(layer_.x(), true, routed_);
  prepare(together_);
  prepare(alone_);
  // Rows that lie ready, for experts by themselves.
  forward(alone_, true);
  const auto trip = alone_.exchanger.start_backward(layer_.d_y(), assignment(), alone_.plan, alone_.d_x, alone_.d_weight);
  const ConstMatrixView arrived = trip->arrive();
  d_out_.resize_uninitialised(arrived.rows, arrived.cols);
  std::copy_n(arrived.data, arrived.rows * arrived.cols, d_out_.data());
  landing_ = trip->landing();
  results_.resize(landing_.into.rows, landing_.into.cols);
  landing_.into = results_;
  trip->leave(alone_.d_row_weight);
  trip->finish();
}

void OverlapBench::prepare(Side& side) {
  const i64 tokens = layer_.x().rows(), width = layer_.x().cols();
  side.plan = side.exchanger.make_plan(assignment(), layer_.layer().expert_map(), layer_.lanes(), width);
  side.y.resize(tokens, width);
  side.d_x.resize(tokens, width);
  side.d_row_weight.resize(static_cast<std::size_t>(side.plan.rows()));
  side.d_weight.resize(assignment().expert.size());
}

void OverlapBench::forward(Side& side, bool experts_work) {
  const auto trip = side.exchanger.start_forward(layer_.x(), assignment(), side.plan, side.kept, side.y);
  const ConstMatrixView tokens = experts_work ? trip->begin() : trip->arrive();
  const experts::Landing out = trip->landing();
  if (experts_work) bank_.forward(layer_.params(), tokens, side.plan.at_experts, side.bank, out);
  trip->leave({});
  trip->finish();
}

void OverlapBench::backward(Side& side, bool experts_work) {
  const auto trip = side.exchanger.start_backward(layer_.d_y(), assignment(), side.plan, side.d_x, side.d_weight);
  const ConstMatrixView d_out = experts_work ? trip->begin() : trip->arrive();
  const experts::Landing out = trip->landing();
  const ConstMatrixView tokens = side.kept.tokens;
  if (experts_work) bank_.backward(layer_.params(), tokens, side.plan.at_experts, side.bank, d_out, out, side.d_row_weight);
  trip->leave(side.d_row_weight);
  trip->finish();
}

void OverlapBench::pass(Side& side, Passes passes, bool experts_work) {
  if (passes != Passes::backward) forward(side, experts_work);
  if (passes != Passes::forward) backward(side, experts_work);
}

Timed OverlapBench::together(Passes passes) {
  return {[this, passes] { pass(together_, passes, true); }, [this] { layer_.zero_grads(); }};
}

Timed OverlapBench::exchange(Passes passes) {
  return {[this, passes] { pass(alone_, passes, false); }};
}

Timed OverlapBench::experts(Passes passes) {
  const auto run = [this, passes] {
    const ConstMatrixView tokens = alone_.kept.tokens;
    if (passes != Passes::backward) bank_.forward(layer_.params(), tokens, alone_.plan.at_experts, alone_.bank, landing_);
    if (passes != Passes::forward) bank_.backward(layer_.params(), tokens, alone_.plan.at_experts, alone_.bank, d_out_, landing_, alone_.d_row_weight);
  };
  return {run, [this] { layer_.zero_grads(); }};
}

std::vector<Check> OverlapBench::check() {
  std::vector<std::vector<real>> gradients;
  for (Side* side : {&alone_, &together_}) {
    layer_.zero_grads();
    std::ranges::fill(side->d_x.flat(), real{0});
    pass(*side, Passes::both, true);
    const std::span<const real> of_experts = layer_.params().grads(Owner::expert);
    gradients.emplace_back(of_experts.begin(), of_experts.end());
  }
  const i64 wrong = different(alone_.y.flat(), together_.y.flat()) + different(alone_.d_x.flat(), together_.d_x.flat()) +
                    different(alone_.d_weight, together_.d_weight) + different(gradients[0], gradients[1]);
  return {{"numbers that differ from those of an exchange by itself", static_cast<double>(comm::sum_over<i64>(layer_.grid().world(), wrong)), 0}};
}

}  // namespace pleiad::bench
