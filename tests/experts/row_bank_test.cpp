// Experts of one row each (PEER neurons, product-key values): outputs against plain loops, and gradients of the rows that were used only.
#include "experts/bank_sample.hpp"
#include "pleiad/experts/neuron_bank.hpp"
#include "pleiad/experts/value_bank.hpp"
#include "support/sample.hpp"

namespace pleiad::experts {
namespace {

constexpr i64 k_width = 6;
const std::vector<i64> k_widths(7, 1);

/// Of seven experts in all, those of the last of two owners: 3 to 6. The second of them has no rows.
template <class Bank>
struct Sample {
  template <class... More>
  explicit Sample(More... more) : bank(params, "x/", more..., k_width, ExpertMap(ExpertPlacement::block, k_widths, 2), 1) {
    params.allocate();
    params.allocate_grads(1);
    params.initialise(3);
    test::fill_normal(weight, 33);
  }
  Matrix backward() {
    BankTrace trace;
    const ExpertRows at = rows_by_offset(offset, weight);
    Matrix out(rows.rows(), k_width), d_rows(rows.rows(), k_width);
    bank.forward(params, rows, at, trace, {out, at.token, false});
    d_weight.assign(weight.size(), 7);
    bank.backward(params, rows, at, trace, d_y, {d_rows, at.token, false}, d_weight);
    return out;
  }
  i64 expert_of(i64 row) const {
    i64 e = 0;
    while (row >= offset[static_cast<std::size_t>(e) + 1]) ++e;
    return e;
  }

  ParamSet params;
  std::vector<i64> offset{0, 2, 2, 3, 5};
  Bank bank;
  Matrix rows = test::normal_matrix(5, k_width, 31), d_y = test::normal_matrix(5, k_width, 32);
  std::vector<real> weight = std::vector<real>(5), d_weight;
};

TEST(NeuronBank, EqualsPlainLoops) {
  Sample<NeuronBank> s(ops::Activation::relu);
  const Matrix out = s.backward();
  const ConstMatrixView u = s.params.value(ParamId{0}), v = s.params.value(ParamId{1});
  ASSERT_EQ(u.rows, 4);
  std::vector<double> d_u(static_cast<std::size_t>(u.size()), 0), d_v = d_u;
  for (i64 r = 0; r < 5; ++r) {
    const i64 e = s.expert_of(r);
    double pre = 0, along = 0;
    for (i64 j = 0; j < k_width; ++j) pre += static_cast<double>(u(e, j)) * static_cast<double>(s.rows(r, j)), along += static_cast<double>(v(e, j)) * static_cast<double>(s.d_y(r, j));
    const double act = std::max(pre, 0.0), w = static_cast<double>(s.weight[r]);
    EXPECT_NEAR(s.d_weight[r], along * act, 1e-5);
    for (i64 j = 0; j < k_width; ++j) {
      EXPECT_NEAR(out(r, j), act * static_cast<double>(v(e, j)), 1e-5);
      d_v[e * k_width + j] += w * act * static_cast<double>(s.d_y(r, j));
      d_u[e * k_width + j] += pre > 0 ? w * along * static_cast<double>(s.rows(r, j)) : 0;
    }
  }
  EXPECT_TRUE(test::all_near(s.params.whole_grad({0}), d_u, 1e-5));
  EXPECT_TRUE(test::all_near(s.params.whole_grad({1}), d_v, 1e-5));
}

template <class S>
void expect_rows_of_used_experts(S& s) {
  for (const ParamInfo& p : s.params.infos()) {
    EXPECT_FALSE(p.decay) << p.name;
    EXPECT_EQ(p.first_row, 3);
    s.params.zero_grads();
    s.backward();
    EXPECT_EQ(s.params.row_grads({p.index}).touched(), (std::vector<i64>{0, 2, 3})) << p.name;
    std::vector<real> twice = s.params.whole_grad({p.index});
    for (real& g : twice) g *= 2;
    s.backward();
    EXPECT_TRUE(test::all_near(s.params.whole_grad({p.index}), twice, 1e-6)) << "the second pass adds to the first";
  }
}

TEST(NeuronBank, TouchesTheRowsOfUsedExpertsOnly) {
  Sample<NeuronBank> s(ops::Activation::gelu);
  expect_rows_of_used_experts(s);
}

TEST(ValueBank, EqualsPlainLoopsAndTouchesTheRowsOfUsedExpertsOnly) {
  Sample<ValueBank> s;
  const Matrix out = s.backward();
  const ConstMatrixView values = s.params.value(ParamId{0});
  std::vector<double> expected(static_cast<std::size_t>(values.size()), 0);
  for (i64 r = 0; r < 5; ++r) {
    double along = 0;
    for (i64 j = 0; j < k_width; ++j) {
      EXPECT_EQ(out(r, j), values(s.expert_of(r), j));
      along += static_cast<double>(out(r, j)) * static_cast<double>(s.d_y(r, j));
      expected[s.expert_of(r) * k_width + j] += static_cast<double>(s.weight[r]) * static_cast<double>(s.d_y(r, j));
    }
    EXPECT_NEAR(s.d_weight[r], along, 1e-5);
  }
  EXPECT_TRUE(test::all_near(s.params.whole_grad({0}), expected, 1e-5));
  expect_rows_of_used_experts(s);
}

}  // namespace
}  // namespace pleiad::experts
