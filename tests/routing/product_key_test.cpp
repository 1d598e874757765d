// Product keys: what has no gradient has exactly none, so that Adam makes no steps of rounding errors.
#include "routing/hand_made.hpp"

namespace pleiad::routing {
namespace {

/// The two best of a 2 x 2 grid always share a sub-key of one half; its score shifts both alike, which a softmax does not see.
TEST(ProductKey, AHalfInWhichAllPairsHaveOneSubKeyGetsExactlyNoGradient) {
  const i64 tokens = 20, width = 5, half = 3;
  const test::RouterOptions options{{{"heads", "1"}, {"k", "2"}, {"query_dim", "6"}, {"sub_keys", "2"}, {"batch_norm", "false"}}, std::vector<i64>(4, 1)};
  test::RouterUnderTest under(router_variant("pkm"), options, width);
  under.params.allocate_grads(1);
  const comm::Communicator me = test::just_me();
  const LaneLayout lanes(1, 1, 1, 1, 0);
  const RoutingContext context{me, lanes, 5, 2, 3, true};
  i64 shared[2] = {0, 0};
  for (i64 t = 0; t < tokens; ++t) {
    Matrix x(1, width), d_x(1, width);
    test::fill_normal(x.flat(), static_cast<std::uint64_t>(50 + t), 1);
    under.params.zero_grads();
    const auto trace = under.router->forward(under.params, x, context);
    under.router->backward(under.params, x, context, *trace, std::vector<real>{0.7f, -0.3f}, 1, d_x);
    const std::vector<std::int32_t>& e = trace->assignment.expert;
    const int one = e[0] / 2 == e[1] / 2 ? 0 : 1;
    ++shared[one];
    const auto gradient = [&](const std::string& name) { return under.params.whole_grad({under.params.find("layer/pkm/" + name)->index}); };
    const auto nothing = [](std::span<const real> v) { return std::ranges::all_of(v, [](real g) { return g == 0; }); };
    EXPECT_TRUE(nothing(gradient(one == 0 ? "sub_keys_1" : "sub_keys_2"))) << "token " << t;
    EXPECT_FALSE(nothing(gradient(one == 0 ? "sub_keys_2" : "sub_keys_1"))) << "token " << t;
    const std::vector<real> query = gradient("w_query");
    EXPECT_TRUE(nothing(std::span(query).subspan(static_cast<std::size_t>(one * half * width), half * width))) << "token " << t;
  }
  EXPECT_GT(shared[0], 0);
  EXPECT_GT(shared[1], 0);
}

/// What it selects are the first heads of the same router without attention, as many as the rule says; padding has none.
TEST(ProductKey, AttentionDecidesHowManyHeadsATokenUses) {
  const i64 tokens = 6, width = 5, k = 3;
  const Keys keys{{"sub_keys", "4"}, {"heads", "4"}, {"k", "3"}, {"query_dim", "4"}};
  Keys driven = keys;
  driven["active_heads"] = "attention";
  const std::vector<i64> ones(16, 1);
  test::RouterUnderTest all(router_variant("peer"), {keys, ones}, width), some(router_variant("peer"), {driven, ones}, width);
  EXPECT_TRUE(some.router->has_importance());
  EXPECT_EQ(some.router->selected_per_token(), 0);
  EXPECT_EQ(some.router->most_per_token(), 12);
  const comm::Communicator me = test::just_me();
  const LaneLayout lanes(1, 2, 3, 1, 0);
  Matrix x(tokens, width), attention(tokens, 3);
  test::fill_normal(x.flat(), 50, 1);
  const double map[] = {1, 0, 0, 0.5, 0.5, 0, 0.375, 0.25, 0.375, 0.125, 0.75, 0.125, 0.25, 0.25, 0.25, 0, 0, 1};
  std::ranges::transform(map, attention.flat().begin(), [](double w) { return static_cast<real>(w); });
  const std::vector<std::uint8_t> real_tokens = {1, 1, 1, 1, 1, 0};
  RoutingContext context{me, lanes, 5, 2, 3, true};
  context.attention = {attention, 1};
  context.real_tokens = real_tokens;
  context.real_in_batch = 5;
  const auto whole = all.router->forward(all.params, x, context), part = some.router->forward(some.params, x, context);
  EXPECT_EQ(counts_of(*whole), (std::vector<i64>{12, 12, 12, 12, 12, 0}));
  EXPECT_EQ(counts_of(*part), (std::vector<i64>{4 * k, 2 * k, 2 * k, 3 * k, 1 * k, 0})) << "ceil of four times the largest weight of the row";
  for (i64 t = 0; t < tokens; ++t) {
    const std::vector<std::int32_t> expert = experts_of(*part, t);
    const std::vector<real> weight = weights_of(*part, t);
    EXPECT_TRUE(std::ranges::equal(expert, std::span(whole->assignment.expert).subspan(static_cast<std::size_t>(whole->assignment.offset[t]), expert.size())));
    EXPECT_TRUE(std::ranges::equal(weight, std::span(whole->assignment.weight).subspan(static_cast<std::size_t>(whole->assignment.offset[t]), weight.size())));
  }
}

/// Against the scores of all n * n experts, also with more pairs than fit a list of candidates.
TEST(ProductKey, FindsTheBestOfAllPairs) {
  const i64 tokens = 30, width = 7, half = 4, n = 20;
  for (const i64 k : {1, 2, 16, 64, 400}) {
    const test::RouterOptions options{{{"heads", "1"}, {"k", std::to_string(k)}, {"query_dim", "8"}, {"sub_keys", "20"}, {"batch_norm", "false"}}, std::vector<i64>(400, 1)};
    test::RouterUnderTest under(router_variant("pkm"), options, width);
    const comm::Communicator me = test::just_me();
    const LaneLayout lanes(1, 1, tokens, 1, 0);
    Matrix x(tokens, width);
    test::fill_normal(x.flat(), 50, 1);
    const auto trace = under.router->forward(under.params, x, {me, lanes, 5, 2, 3, true});
    const auto value = [&](const char* name) { return under.params.value(ParamId{under.params.find(std::string("layer/pkm/") + name)->index}); };
    const ConstMatrixView w = value("w_query"), keys[2] = {value("sub_keys_1"), value("sub_keys_2")};
    for (i64 t = 0; t < tokens; ++t) {
      std::vector<double> of_key[2] = {std::vector<double>(n, 0.0), std::vector<double>(n, 0.0)};
      for (int h = 0; h < 2; ++h) {
        for (i64 q = 0; q < half; ++q) {
          double query = 0;
          for (i64 j = 0; j < width; ++j) query += static_cast<double>(w(h * half + q, j)) * static_cast<double>(x(t, j));
          for (i64 a = 0; a < n; ++a) of_key[h][a] += query * static_cast<double>(keys[h](a, q));
        }
      }
      std::vector<double> all;
      for (i64 e = 0; e < n * n; ++e) all.push_back(of_key[0][e / n] + of_key[1][e % n]);
      std::vector<double> sorted = all;
      std::ranges::sort(sorted, std::greater<>());
      std::vector<std::int32_t> found(trace->assignment.expert.begin() + t * k, trace->assignment.expert.begin() + (t + 1) * k);
      for (i64 c = 0; c < k; ++c) EXPECT_NEAR(all[found[c]], sorted[c], 1e-5) << "k = " << k;
      std::ranges::sort(found);
      EXPECT_EQ(std::unique(found.begin(), found.end()), found.end());
    }
  }
}

}  // namespace
}  // namespace pleiad::routing
