#include "pleiad/routing/dense.hpp"

namespace pleiad::routing {

DenseRouter::DenseRouter(const RouterBuild& build, Spec&) {
  if (build.experts() != 1) user_error("moe.experts = {}: the dense router has exactly 1 expert", build.experts());
}

std::unique_ptr<RouterTrace> DenseRouter::forward(const ParamSet&, ConstMatrixView x, const RoutingContext&) const {
  auto trace = std::make_unique<RouterTrace>();
  Assignment& a = trace->assignment;
  a.experts = 1;
  a.offset.resize(static_cast<std::size_t>(x.rows) + 1);
  for (i64 t = 0; t <= x.rows; ++t) a.offset[t] = t;
  a.expert.assign(static_cast<std::size_t>(x.rows), 0);
  a.weight.assign(static_cast<std::size_t>(x.rows), 1);
  a.kept.assign(static_cast<std::size_t>(x.rows), 1);
  trace->logits.resize(x.rows, 1);
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
