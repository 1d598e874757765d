// What every registered routing variant must keep, on any number of ranks. A new variant is tested as soon as it is registered; its
// option sets are in support/router_cases.hpp. Gradients: tests/routing/routers_gradient_test.cpp.
#include <set>

#include "pleiad/comm/collectives.hpp"
#include "pleiad/routing/capacity.hpp"
#include "support/router_cases.hpp"

namespace pleiad::routing {
namespace {

constexpr i64 k_width = 7;

struct Batch {
  i64 lanes, sequences, seq_len;
};
// The last ones leave ranks and lanes without tokens.
constexpr Batch k_batches[] = {{8, 16, 3}, {8, 11, 2}, {4, 3, 5}, {16, 1, 6}};

class Contract : public testing::Test {
 protected:
  const comm::Communicator world_ = comm::Communicator::world(), me_ = test::just_me();

  LaneLayout shared(const Batch& b) const { return {b.lanes, b.sequences, b.seq_len, world_.size(), world_.rank()}; }
  static LaneLayout whole(const Batch& b) { return {b.lanes, b.sequences, b.seq_len, 1, 0}; }
  static Matrix inputs(const Batch& b) { return test::normal_matrix(b.sequences * b.seq_len, k_width, 21); }

  std::unique_ptr<RouterTrace> on_all(test::RouterUnderTest& r, const Batch& b, bool training, i64 step = 5) const {
    const LaneLayout lanes = shared(b);
    const test::Surroundings around(lanes);
    return r.router->forward(r.params, test::my_rows(inputs(b), lanes), around.context(world_, lanes, 17, 2, step, training));
  }
  std::unique_ptr<RouterTrace> alone(test::RouterUnderTest& r, const Batch& b, ConstMatrixView x, bool training, i64 step = 5) const {
    const LaneLayout lanes = whole(b);
    const test::Surroundings around(lanes);
    return r.router->forward(r.params, x, around.context(me_, lanes, 17, 2, step, training));
  }

  /// Calls `test` for every variant, option set and batch.
  template <class F>
  void for_all(F test) const {
    test::for_every_router(k_width, [&](test::RouterUnderTest& router) {
      for (const Batch& b : k_batches) {
        SCOPED_TRACE(fmt::format("{} lanes, {} sequences of {}", b.lanes, b.sequences, b.seq_len));
        test(router, b);
      }
    });
  }
};

TEST_F(Contract, TokensSelectAsManyExpertsAsTheRouterSaysBeforehand) {
  i64 known = 0;
  test::for_every_router(k_width, [&](test::RouterUnderTest& router) {
    const Batch& b = k_batches[0];
    const double said = router.router->selected_per_token();
    if (said == 0) return;
    ++known;
    constexpr i64 steps = 30;  // some draw, and some round per expert
    double selected = 0;
    for (i64 step = 0; step < steps; ++step) selected += static_cast<double>(alone(router, b, inputs(b), true, step)->assignment.entries());
    EXPECT_NEAR(selected / static_cast<double>(steps * b.sequences * b.seq_len), said, 0.3);
  });
  EXPECT_GE(known, 10) << "hardly any router says it";
}

TEST_F(Contract, EveryTokenIsAccountedForWithFiniteWeightsAndNoExpertTwice) {
  for_all([&](test::RouterUnderTest& router, const Batch& b) {
    for (const bool training : {true, false}) {
      const auto trace = on_all(router, b, training);
      const Assignment& a = trace->assignment;
      const LaneLayout lanes = shared(b);
      EXPECT_EQ(a.tokens(), lanes.my_tokens());
      EXPECT_EQ(a.offset.front(), 0);
      EXPECT_EQ(a.offset.back(), a.entries());
      EXPECT_EQ(a.weight.size(), a.expert.size());
      EXPECT_EQ(a.kept.size(), a.expert.size());
      EXPECT_EQ(trace->logits.rows(), lanes.my_tokens());
      for (i64 t = 0; t < a.tokens(); ++t) {
        EXPECT_LE(a.offset[t], a.offset[t + 1]);
        std::set<std::int32_t> once(a.expert.begin() + a.offset[t], a.expert.begin() + a.offset[t + 1]);
        // Heads of product keys choose independently.
        const bool may_repeat = router.name.starts_with("peer") || router.name.starts_with("pkm");
        if (!may_repeat) {
          EXPECT_EQ(static_cast<i64>(once.size()), a.offset[t + 1] - a.offset[t]) << "token " << t << " has an expert twice";
        }
      }
      for (i64 i = 0; i < a.entries(); ++i) {
        EXPECT_TRUE(std::isfinite(a.weight[i]));
        EXPECT_TRUE(a.expert[i] >= 0 && a.expert[i] < a.experts) << a.expert[i];
        EXPECT_LE(a.kept[i], 1);
      }
      for (const AuxLoss& loss : trace->losses) EXPECT_TRUE(std::isfinite(loss.value)) << loss.name;
      EXPECT_TRUE(std::isfinite(trace->mean_entropy));
    }
  });
}

TEST_F(Contract, CapacityIsKeptOverTheWholeBatch) {
  for_all([&](test::RouterUnderTest& router, const Batch& b) {
    const auto keys = router.spec.resolved();
    const auto value = [&](const char* key) {
      for (const Spec::Entry& e : keys) {
        if (e.key == key) return std::stod(e.value);
      }
      return 0.0;
    };
    for (const bool training : {true, false}) {
      const auto trace = on_all(router, b, training);
      std::vector<i64> kept = count_per_expert(trace->assignment, true), chosen = count_per_expert(trace->assignment, false);
      comm::all_reduce_sum<i64>(world_, kept);
      comm::all_reduce_sum<i64>(world_, chosen);
      const double factor = value("capacity_factor");
      bool limited = factor > 0 && training;
      for (const Spec::Entry& e : keys) limited = limited || (factor > 0 && e.key == "eval_capacity" && e.value == "train");
      const double fair = std::max(1.0, value("k")) * factor * static_cast<double>(b.sequences * b.seq_len) / static_cast<double>(kept.size());
      const i64 limit = std::max({static_cast<i64>(value("min_capacity")), static_cast<i64>(std::ceil(fair - 1e-9)), i64{1}});
      for (std::size_t e = 0; e < kept.size(); ++e) EXPECT_EQ(kept[e], limited ? std::min(chosen[e], limit) : chosen[e]) << "expert " << e;
    }
  });
}

TEST_F(Contract, BitsAreThoseOfOneRank) {
  for_all([&](test::RouterUnderTest& router, const Batch& b) {
    for (const bool training : {true, false}) {
      const auto here = on_all(router, b, training), truth = alone(router, b, inputs(b), training);
      const LaneLayout lanes = shared(b);
      const Assignment expected = test::tokens_of(truth->assignment, lanes.first_token(), lanes.my_tokens());
      EXPECT_EQ(here->assignment.offset, expected.offset);
      EXPECT_EQ(here->assignment.expert, expected.expert);
      EXPECT_EQ(here->assignment.kept, expected.kept);
      EXPECT_TRUE(test::same_bits(here->assignment.weight, expected.weight));
      EXPECT_TRUE(test::same_bits(here->logits, test::my_rows(truth->logits, lanes)));
      EXPECT_EQ(here->mean_entropy, truth->mean_entropy);
      EXPECT_EQ(here->losses.size(), truth->losses.size());
      for (std::size_t i = 0; i < std::min(here->losses.size(), truth->losses.size()); ++i) {
        EXPECT_EQ(here->losses[i].name, truth->losses[i].name);
        EXPECT_EQ(here->losses[i].value, truth->losses[i].value) << here->losses[i].name;
      }
    }
  });
}

TEST_F(Contract, GradientBitsAreThoseOfOneRank) {
  for_all([&](test::RouterUnderTest& router, const Batch& b) {
    const LaneLayout lanes = shared(b);
    const Matrix x = inputs(b), mine = test::my_rows(x, lanes);
    const auto here = on_all(router, b, true), truth = alone(router, b, x, true);
    std::vector<real> slope(truth->assignment.expert.size());
    test::fill_normal(slope, 77);
    for (std::size_t i = 0; i < slope.size(); ++i) slope[i] *= truth->assignment.kept[i];
    const auto first = slope.begin() + truth->assignment.offset[lanes.first_token()];
    const std::vector<real> my_slope(first, first + here->assignment.entries());
    Matrix d_mine(mine.rows(), k_width), d_x(x.rows(), k_width);

    router.params.allocate_grads(lanes.my_lanes().count);
    const LaneLayout all = whole(b);
    router.router->backward(router.params, mine, test::Surroundings(lanes).context(world_, lanes, 17, 2, 5, true), *here, my_slope, 1, d_mine);
    std::vector<real> grads(router.params.grads(Owner::replicated).begin(), router.params.grads(Owner::replicated).end());
    router.params.allocate_grads(b.lanes);
    router.router->backward(router.params, x, test::Surroundings(all).context(me_, all, 17, 2, 5, true), *truth, slope, 1, d_x);
    const std::size_t block = static_cast<std::size_t>(router.params.size(Owner::replicated));
    const std::size_t lanes_here = static_cast<std::size_t>(lanes.my_lanes().count);
    grads.resize(lanes_here * block);
    const std::size_t before = static_cast<std::size_t>(lanes.my_lanes().begin) * block;
    const auto expected = router.params.grads(Owner::replicated).subspan(before, lanes_here * block);
    EXPECT_TRUE(test::same_bits<real>(std::span<const real>(grads), std::span<const real>(expected)));
    EXPECT_TRUE(test::same_bits(d_mine, test::my_rows(d_x, lanes)));
  });
}

TEST_F(Contract, EvaluationDoesNotDependOnSeedAndStep) {
  for_all([&](test::RouterUnderTest& router, const Batch& b) {
    const auto once = on_all(router, b, false, 1), again = on_all(router, b, false, 2);
    EXPECT_EQ(once->assignment.expert, again->assignment.expert);
    EXPECT_TRUE(test::same_bits(once->assignment.weight, again->assignment.weight));
  });
}

// Evaluation of one long sequence: what comes later may not change what an earlier token gets.
TEST_F(Contract, CausalVariantsDoNotLookAhead) {
  constexpr Batch b{8, 1, 24};
  for (const RouterVariant& variant : router_variants()) {
    for (test::RouterOptions options : test::options_of(variant.name)) {
      options.keys.erase("eval_capacity");
      test::RouterUnderTest router(variant, options, k_width);
      SCOPED_TRACE(router.name);
      if (!router.router->causal()) continue;
      const Matrix x = inputs(b);
      const auto before = alone(router, b, x, false);
      for (const i64 changed : {1, 12, 23}) {
        Matrix other = test::rows_of(x, 0, x.rows());
        test::fill_normal(other.view().row_range(changed, x.rows() - changed).flat(), 1234, 3);
        const auto after = alone(router, b, other, false);
        const Assignment early = test::tokens_of(before->assignment, 0, changed), still = test::tokens_of(after->assignment, 0, changed);
        EXPECT_EQ(early.offset, still.offset);
        EXPECT_EQ(early.expert, still.expert);
        EXPECT_EQ(early.kept, still.kept);
        EXPECT_TRUE(test::same_bits(early.weight, still.weight));
      }
    }
  }
}

// Padding is never routed, moves nothing and gets no gradient; whatever stands there changes nobody else.
TEST_F(Contract, PaddingIsLeftOut) {
  constexpr Batch b{4, 6, 4};
  test::for_every_router(k_width, [&](test::RouterUnderTest& router) {
    const LaneLayout lanes = shared(b);
    const test::Surroundings around(lanes);
    RoutingContext context = around.context(world_, lanes, 17, 2, 5, true);
    std::vector<std::uint8_t> real_tokens;
    for (i64 t = 0; t < lanes.my_tokens(); ++t) real_tokens.push_back((lanes.first_token() + t) % b.seq_len != 3);
    context.real_tokens = real_tokens;
    context.real_in_batch = b.sequences * (b.seq_len - 1);
    const Matrix x = test::my_rows(inputs(b), lanes);
    Matrix other = test::rows_of(x, 0, x.rows());
    for (i64 t = 0; t < x.rows(); ++t) {
      for (i64 j = 0; j < k_width && !real_tokens[t]; ++j) other(t, j) += 3;
    }
    const auto trace = router.router->forward(router.params, x, context), changed = router.router->forward(router.params, other, context);
    const Assignment& a = trace->assignment;
    EXPECT_EQ(a.expert, changed->assignment.expert);
    EXPECT_TRUE(test::same_bits(a.weight, changed->assignment.weight));
    for (std::size_t i = 0; i < trace->losses.size(); ++i) EXPECT_EQ(trace->losses[i].value, changed->losses[i].value) << trace->losses[i].name;
    EXPECT_EQ(trace->mean_entropy, changed->mean_entropy);
    Matrix d_x(x.rows(), k_width);
    router.params.allocate_grads(lanes.my_lanes().count);
    router.router->backward(router.params, x, context, *trace, std::vector<real>(a.expert.size(), 1), 1, d_x);
    for (i64 t = 0; t < x.rows(); ++t) {
      if (real_tokens[t]) continue;
      EXPECT_EQ(a.offset[t], a.offset[t + 1]);
      for (i64 j = 0; j < k_width; ++j) EXPECT_EQ(d_x(t, j), 0);
    }
  });
}

}  // namespace
}  // namespace pleiad::routing
