#include "pleiad/routing/random.hpp"

#include "pleiad/routing/select.hpp"
#include "pleiad/routing/topk.hpp"

namespace pleiad::routing {

RandomRouter::RandomRouter(const RouterBuild& build, Spec& spec) : k_(read_k(build, spec)), experts_(build.experts()) {}

std::unique_ptr<RouterTrace> RandomRouter::forward(const ParamSet&, ConstMatrixView x, const RoutingContext& context) const {
  auto trace = std::make_unique<RouterTrace>();
  // Evaluation is the same whenever it is done.
  const bool training = context.training;
  const Stream stream(training ? context.seed : 0, Purpose::random_expert, static_cast<std::uint32_t>(context.layer),
                      training ? static_cast<std::uint64_t>(context.step) : 0);
  const auto draw_of = [&](i64 t) { return static_cast<std::uint64_t>(context.lanes.first_token() + t); };
  trace->assignment = draw_experts(x.rows, experts_, k_, stream, draw_of, context.real_tokens);
  trace->logits.resize(x.rows, experts_);
  return trace;
}

RouterVariant random_variant() {
  return {"random", "experts drawn at random for every token, a control", "",
          [](const RouterBuild& b, Spec& s) -> std::unique_ptr<Router> { return std::make_unique<RandomRouter>(b, s); }};
}

}  // namespace pleiad::routing
