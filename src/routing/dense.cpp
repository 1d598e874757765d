#include "pleiad/routing/dense.hpp"

#include <algorithm>

#include "pleiad/routing/select.hpp"

namespace pleiad::routing {

DenseRouter::DenseRouter(const RouterBuild& build, Spec&) {
  if (build.experts() != 1) user_error("{} = {}: the dense router has exactly 1 expert", build.experts_key(), build.experts());
}

std::unique_ptr<RouterTrace> DenseRouter::forward(const ParamSet&, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<RouterTrace>();
  trace->logits.resize(x.rows, 1);
  trace->assignment = select_top_k(trace->logits, 1, context.real_tokens);
  std::ranges::fill(trace->assignment.weight, real{1});
  return trace;
}

// The weight is a constant, so nothing flows back through the router.
void DenseRouter::backward(ParamSet&, ConstMatrixView, const RoutingContext&, const RouterTrace&, std::span<const real>, double,
                           MatrixView) const {}

RouterVariant dense_variant() {
  return {"dense", "one expert for every token", "",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<DenseRouter>(b, s); }};
}

}  // namespace pleiad::routing
