// Routers whose probabilities are chosen by hand: their weights are the identity and their inputs the logarithms of p. Serial tests
// of single variants use it; it starts MPI as a world of one.
#pragma once
#include <algorithm>

#include "support/router_cases.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::routing {

using Keys = std::map<std::string, std::string>;
using Rows = std::vector<std::vector<double>>;  // [T][N]

class HandMade {
 public:
  HandMade(const std::string& variant, const Keys& keys, i64 experts)
      : under_(router_variant(variant), {keys, std::vector<i64>(static_cast<std::size_t>(experts), 3)}, experts) {
    std::ranges::fill(params().values(Owner::replicated), real{0});
    if (const ParamInfo* w = params().find("layer/router/w")) {
      for (i64 e = 0; e < experts; ++e) values(w->name)[e * experts + e] = 1;
    }
  }

  ParamSet& params() { return under_.params; }
  std::span<real> values(const std::string& name) { return params().slice(*params().find(name), params().values(Owner::replicated)); }
  const Router& router() const { return *under_.router; }
  const comm::Communicator& world() const { return me_; }

  /// Routes tokens with scores z in sequences of `seq_len` (0: one sequence); `adjust` may change the context.
  template <class F>
  std::unique_ptr<RouterTrace> route_scores(const Rows& z, i64 seq_len, F adjust) {
    const i64 tokens = static_cast<i64>(z.size()), length = seq_len ? seq_len : tokens;
    lanes_ = {1, tokens / length, length, 1, 0};
    x_.resize(tokens, static_cast<i64>(z.front().size()));
    for (i64 t = 0; t < tokens; ++t) {
      for (i64 e = 0; e < x_.cols(); ++e) x_(t, e) = static_cast<real>(z[t][e]);
    }
    RoutingContext context{me_, lanes_, 5, 2, 3, true};
    adjust(context);
    return router().forward(params(), x_, context);
  }
  /// The same with probabilities.
  template <class F>
  std::unique_ptr<RouterTrace> route(Rows p, i64 seq_len, F adjust) {
    for (auto& row : p) {
      for (double& v : row) v = std::log(v);
    }
    return route_scores(p, seq_len, adjust);
  }
  std::unique_ptr<RouterTrace> route(Rows p, i64 seq_len = 0) {
    return route(std::move(p), seq_len, [](RoutingContext&) {});
  }

 private:
  comm::Communicator me_ = test::just_me();
  test::RouterUnderTest under_;
  LaneLayout lanes_;
  Matrix x_;
};

inline std::vector<std::int32_t> experts_of(const RouterTrace& trace, i64 token) {
  const Assignment a = test::tokens_of(trace.assignment, token, 1);
  return a.expert;
}
inline std::vector<real> weights_of(const RouterTrace& trace, i64 token) { return test::tokens_of(trace.assignment, token, 1).weight; }

inline std::vector<i64> counts_of(const RouterTrace& trace) {
  std::vector<i64> counts;
  for (i64 t = 0; t < trace.assignment.tokens(); ++t) counts.push_back(trace.assignment.offset[t + 1] - trace.assignment.offset[t]);
  return counts;
}

using Experts = std::vector<std::int32_t>;

inline testing::AssertionResult weights_are(const RouterTrace& trace, i64 token, const std::vector<double>& expected) {
  return test::all_near(weights_of(trace, token), expected, 1e-6);
}

/// Success if a router with these options is refused with a message that holds all of `parts`.
inline testing::AssertionResult refused(const std::string& variant, const Keys& keys, const std::vector<std::string>& parts, i64 experts = 4) {
  const std::string message = test::message_of<UserError>([&] { HandMade(variant, keys, experts); });
  for (const std::string& part : parts) {
    if (!test::contains(message, part)) return testing::AssertionFailure() << "'" << part << "' is not in: " << message;
  }
  return testing::AssertionSuccess();
}

}  // namespace pleiad::routing
