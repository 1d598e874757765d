// Expert banks against plain loops over one row and one expert at a time.
#include "experts/bank_sample.hpp"
#include "pleiad/ops/gemm.hpp"

namespace pleiad::experts {
namespace {

double act(const std::string& name, double a) {
  if (name == "relu") return a > 0 ? a : 0;
  if (name == "gelu") return 0.5 * a * (1 + std::erf(a / std::sqrt(2.0)));
  return a / (1 + std::exp(-a));
}

std::vector<double> times(std::span<const real> w, const std::vector<double>& x, std::span<const real> bias) {
  const std::size_t n = w.size() / x.size();
  std::vector<double> y(n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < x.size(); ++j) y[i] += static_cast<double>(w[i * x.size() + j]) * x[j];
    if (!bias.empty()) y[i] += static_cast<double>(bias[i]);
  }
  return y;
}

std::vector<double> expert_by_hand(BankSample& s, const std::string& kind, i64 e, const real* row) {
  const std::vector<double> x(row, row + s.width);
  const bool gated = kind == "swiglu";
  std::vector<double> h = times(s.values(e, gated ? "w_gate" : "w_in"), x, s.values(e, "b_in"));
  for (double& v : h) v = act(kind, v);
  if (gated) {
    const std::vector<double> up = times(s.values(e, "w_up"), x, {});
    for (std::size_t i = 0; i < h.size(); ++i) h[i] *= up[i];
  }
  return times(s.values(e, gated ? "w_down" : "w_out"), h, s.values(e, "b_out"));
}

TEST(FfnBank, EqualsPlainLoopsForEveryKindAndWidth) {
  for (const Kind& kind : k_kinds) {
    for (const i64 width : {1, 6, 32, 33}) {
      BankSample s(kind.activation, kind.bias, width, {1, 17, 64, 48, 16}, {0, 1, 6, 6, 15, 59});
      EXPECT_EQ(!s.values(0, "b_in").empty(), kind.bias);
      BankTrace trace;
      const Matrix out = s.forward(trace);
      for (std::size_t e = 0; e < s.widths.size(); ++e) {
        for (i64 r = s.offset[e]; r < s.offset[e + 1]; ++r) {
          const auto expected = expert_by_hand(s, kind.activation, static_cast<i64>(e), s.rows.row(r));
          EXPECT_TRUE(test::all_near(std::span(out.row(r), static_cast<std::size_t>(width)), expected, 2e-5))
              << kind.activation << (kind.bias ? " with bias" : "") << ", width " << width << ", expert " << e << ", row " << r;
        }
      }
    }
  }
}

TEST(FfnBank, RowsOfOneExpertDoNotSeeTheOthers) {
  for (const Kind& kind : k_kinds) {
    BankSample s(kind.activation, kind.bias, 9, {7, 12, 5}, {0, 4, 9, 13});
    BankTrace trace;
    const Matrix before = s.forward(trace);
    test::fill_normal(s.rows.view().row_range(0, 4).flat(), 1, 50);
    test::fill_normal(s.rows.view().row_range(9, 4).flat(), 2, 50);
    test::fill_normal(s.values(0, "w_gate"), 3);
    test::fill_normal(s.values(0, "w_in"), 4);
    const Matrix after = s.forward(trace);
    EXPECT_TRUE(test::same_bits(test::rows_of(before, 4, 5), test::rows_of(after, 4, 5))) << kind.activation;
    EXPECT_FALSE(test::same_bits(test::rows_of(before, 9, 4), test::rows_of(after, 9, 4))) << kind.activation;
  }
}

TEST(FfnBank, ComputesAnExpertAloneAsAmongOthers) {
  BankSample all("gelu", true, 8, {6, 6, 6}, {0, 3, 10, 12}), one("gelu", true, 8, {6}, {0, 7});
  for (const char* name : {"w_in", "b_in", "w_out", "b_out"}) std::ranges::copy(all.values(1, name), one.values(0, name).begin());
  one.rows = test::rows_of(all.rows, 3, 7);
  BankTrace trace;
  const Matrix among = all.forward(trace), alone = one.forward(trace);
  EXPECT_TRUE(test::same_bits(test::rows_of(among, 3, 7), alone));
}

// Several tokens take the same experts, more rows than a tile holds, and results are summed where they belong.
TEST(FfnBank, SumsTheWeightedResultsOfAToken) {
  for (const Kind& kind : k_kinds) {
    for (const bool narrow : {false, true}) {  // of widths whose rows are multiplied as they lie, or not
      const i64 width = narrow ? 32 : 5;
      BankSample s(kind.activation, kind.bias, width, narrow ? std::vector<i64>{64, 16, 32} : std::vector<i64>{12, 3, 7}, {0, 300, 300, 520});
      BankTrace trace;
      const Matrix plain = s.forward(trace);
      Matrix plain_d(520, width), into(40, width), d_x(40, width);
      std::vector<real> plain_d_weight(520), d_weight(520);
      s.backward(trace, plain_d, plain_d_weight);
      const std::vector<real> plain_gradient(s.params.grads(Owner::expert).begin(), s.params.grads(Owner::expert).end());
      ExpertRows at = s.expert_rows();
      std::vector<std::int32_t> place;
      for (i64 r = 0; r < 520; ++r) place.push_back(static_cast<std::int32_t>(r * 7 % 40));
      std::vector<double> expected(into.flat().size(), 0), expected_d(expected);
      for (i64 r = 0; r < 520; ++r) {
        for (i64 j = 0; j < width; ++j) {
          const std::size_t to = static_cast<std::size_t>(place[static_cast<std::size_t>(r)] * width + j);
          expected[to] += static_cast<double>(s.weight[static_cast<std::size_t>(r)]) * static_cast<double>(plain(r, j));
          expected_d[to] += static_cast<double>(plain_d(r, j));
        }
      }

      s.params.zero_grads();
      s.bank.forward(s.params, s.rows, at, trace, {into, place, true});
      s.bank.backward(s.params, s.rows, at, trace, s.d_y, {d_x, place, true}, d_weight);

      EXPECT_TRUE(test::all_near(into.flat(), expected, 2e-5)) << kind.activation;
      EXPECT_TRUE(test::all_near(d_x.flat(), expected_d, 2e-5)) << kind.activation;
      EXPECT_EQ(d_weight, plain_d_weight);
      EXPECT_TRUE(std::ranges::equal(s.params.grads(Owner::expert), plain_gradient));
    }
  }
}

#ifndef PLEIAD_DOUBLE
// Products of rounded factors differ from exact ones by the rounding, and by that only: gradients point the same way.
TEST(FfnBank, WithRoundedFactorsIsNearlyTheSame) {
  if (!ops::bf16_missing().empty()) GTEST_SKIP() << ops::bf16_missing();
  for (const Kind& kind : k_kinds) {
    BankSample exact(kind.activation, kind.bias, 32, {48, 16, 33}, {0, 70, 71, 120}), rounded(kind.activation, kind.bias, 32, {48, 16, 33}, {0, 70, 71, 120}, true);
    BankTrace trace;
    Matrix d_exact(120, 32), d_rounded(120, 32);
    std::vector<real> w_exact(120), w_rounded(120);
    const Matrix y_exact = exact.forward(trace);
    exact.backward(trace, d_exact, w_exact);
    const Matrix y_rounded = rounded.forward(trace);
    rounded.backward(trace, d_rounded, w_rounded);
    const auto far = [](std::span<const real> a, std::span<const real> b) {
      double difference = 0, size = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        size += std::pow(static_cast<double>(a[i]), 2);
      }
      return std::sqrt(difference / size);
    };
    for (const double distance : {far(y_exact.flat(), y_rounded.flat()), far(d_exact.flat(), d_rounded.flat()), far(w_exact, w_rounded),
                                  far(exact.params.grads(Owner::expert), rounded.params.grads(Owner::expert))}) {
      // Rounding moves some rows over the kink of relu, where the gradient jumps.
      EXPECT_LT(distance, std::string(kind.activation) == "relu" ? 0.1 : 0.01) << kind.activation;
      EXPECT_GT(distance, 1e-5) << kind.activation << ": not rounded at all";
    }
  }
}
#endif

TEST(FfnBank, WithoutRowsDoesNothing) {
  BankSample s("swiglu", false, 4, {2, 3}, {0, 0, 0});
  BankTrace trace;
  EXPECT_EQ(s.forward(trace).rows(), 0);
  s.backward(trace, Matrix(0, 4), {});
  for (const real g : s.params.grads(Owner::expert)) EXPECT_EQ(g, 0);
}

TEST(FfnBank, OwnsOnlyItsExpertsUnderTheirGlobalNumbers) {
  ParamSet params;
  const std::vector<i64> widths{3, 4, 5, 6, 7};
  const ExpertMap map(ExpertPlacement::round_robin, widths, 2);
  const FfnBank bank(params, "blocks/2/ffn/", FeedForwardKind::from("relu", false), 8, widths, map, 1, 2, 4);
  ASSERT_EQ(params.count(), 4);  // experts 1 and 3, two matrices each
  const ParamInfo* p = params.find("blocks/2/ffn/experts/3/w_in");
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->shape, (std::vector<i64>{6, 8}));
  EXPECT_EQ(p->owner, Owner::expert);
  EXPECT_EQ(p->expert, 3);
  EXPECT_EQ(p->slot, 2 * 5 + 3);
  EXPECT_EQ(p->family, "blocks/2/ffn/experts/w_in");
  EXPECT_EQ(params.find("blocks/2/ffn/experts/0/w_in"), nullptr);
  EXPECT_EQ(bank.flops_per_row(0), 2.0 * 2 * 3 * 8) << "of experts it does not own, too";
}

TEST(FeedForward, CountsItsOperations) {
  ParamSet params;
  EXPECT_EQ(FeedForward(params, "a/", 0, 0, FeedForwardKind::from("swiglu", false), 10, 7, 1).flops_per_row(), 2.0 * 3 * 10 * 7);
  EXPECT_EQ(FeedForward(params, "b/", 0, 0, FeedForwardKind::from("gelu", true), 10, 7, 1).flops_per_row(), 2.0 * 2 * 10 * 7);
}

TEST(FeedForwardKind, RefusesABiasOfSwiglu) {
  Spec spec("moe", {{"activation", "swiglu"}, {"expert_bias", "true"}});
  EXPECT_TRUE(test::contains(test::message_of<UserError>([&] { FeedForwardKind::read(spec); }), "moe.expert_bias = true"));
  Spec wrong("moe", {{"activation", "tanh"}});
  EXPECT_TRUE(test::contains(test::message_of<UserError>([&] { FeedForwardKind::read(wrong); }), "moe.activation = tanh"));
}

}  // namespace
}  // namespace pleiad::experts
