// Choosing and weighing experts against brute force.
#include "pleiad/routing/select.hpp"

#include <algorithm>
#include <numeric>

#include "support/sample.hpp"

namespace pleiad::routing {
namespace {

std::vector<std::int32_t> best_by_sorting(ConstMatrixView scores, i64 t, i64 k) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(scores.cols));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return scores(t, a) > scores(t, b); });
  order.resize(static_cast<std::size_t>(k));
  return order;
}

TEST(SelectTopK, EqualsStableSortingForAnyKAlsoWithTies) {
  for (const i64 experts : {1, 2, 3, 8, 33}) {
    Matrix scores = test::normal_matrix(40, experts, static_cast<std::uint64_t>(experts));
    // Every other row has few different values, the last but one rises, the last one falls.
    for (i64 t = 0; t < scores.rows(); t += 2) {
      for (i64 e = 0; e < experts; ++e) scores(t, e) = std::round(scores(t, e));
    }
    for (i64 e = 0; e < experts; ++e) scores(38, e) = static_cast<real>(e), scores(39, e) = static_cast<real>(-e);
    for (i64 k = 1; k <= experts; ++k) {
      const Assignment a = select_top_k(scores, k);
      ASSERT_EQ(a.tokens(), scores.rows());
      EXPECT_EQ(a.experts, experts);
      for (i64 t = 0; t < a.tokens(); ++t) {
        ASSERT_EQ(a.offset[t], t * k);
        const std::vector<std::int32_t> chosen(a.expert.begin() + t * k, a.expert.begin() + (t + 1) * k);
        EXPECT_EQ(chosen, best_by_sorting(scores, t, k)) << "token " << t << ", best " << k << " of " << experts;
      }
      EXPECT_EQ(std::count(a.kept.begin(), a.kept.end(), 1), a.entries());
    }
  }
}

TEST(SelectTopK, TiesGoToTheLowerExpertNumber) {
  const Matrix scores(3, 5);
  EXPECT_EQ(select_top_k(scores, 2).expert, (std::vector<std::int32_t>{0, 1, 0, 1, 0, 1}));
}

TEST(SelectTopK, RefusesMoreThanThereAre) {
  EXPECT_THROW(select_top_k(Matrix(1, 3), 4), LogicError);
  EXPECT_THROW(select_top_k(Matrix(1, 3), 0), LogicError);
}

TEST(SelectTopK, TakesNoTokens) { EXPECT_EQ(select_top_k(Matrix(0, 3), 2).tokens(), 0); }

TEST(WeighByProbability, IsRawOrSharesOfTheChosenMass) {
  Matrix p(2, 3);
  const real rows[] = {0.5f, 0.25f, 0.25f, 0.125f, 0.125f, 0.75f};
  std::copy_n(rows, 6, p.data());
  Assignment a = select_top_k(p, 2);
  weigh_by_probability(a, p, WeightRule::raw);
  EXPECT_EQ(a.weight, (std::vector<real>{0.5f, 0.25f, 0.75f, 0.125f}));
  weigh_by_probability(a, p, WeightRule::renormalized);
  EXPECT_TRUE(test::all_near(a.weight, std::vector<double>{2.0 / 3, 1.0 / 3, 6.0 / 7, 1.0 / 7}, 1e-7));
}

TEST(WeighBySoftmax, BackwardOfSharesGoesToTheLogitsOfTheChosenAndOfRawWeightsToP) {
  Matrix p(1, 4);
  const real row[] = {0.1f, 0.3f, 0.2f, 0.4f};
  std::copy_n(row, 4, p.data());
  Assignment a = select_top_k(p, 2);
  weigh_by_probability(a, p, WeightRule::renormalized);
  std::vector<real> d(2);
  weigh_by_softmax_backward(a, WeightRule::renormalized, {0, 1}, std::vector<real>{0.7f, -0.3f}, d);
  EXPECT_NEAR(d[0], 12.0 / 49, 1e-6) << "weights 4/7 and 3/7, times the difference 1 of their gradients";
  EXPECT_NEAR(d[1], -12.0 / 49, 1e-6);
  EXPECT_TRUE(goes_to_z(a, WeightRule::renormalized, 0));

  weigh_by_softmax_backward(a, WeightRule::raw, {0, 1}, std::vector<real>{10, 20}, d);
  EXPECT_EQ(d, (std::vector<real>{10, 20}));
  EXPECT_FALSE(goes_to_z(a, WeightRule::raw, 0));
  EXPECT_TRUE(goes_to_z(a, WeightRule::raw_if_single, 0));
  EXPECT_FALSE(goes_to_z(select_top_k(p, 1), WeightRule::raw_if_single, 0));
  weigh_by_softmax_backward(a, WeightRule::equal, {0, 1}, std::vector<real>{10, 20}, d);
  EXPECT_EQ(d, (std::vector<real>{0, 0}));
}

TEST(SelectMass, EqualsWalkingDownTheSortedRow) {
  for (const i64 experts : {1, 3, 8, 9, 40, 100}) {
    Matrix p = test::normal_matrix(20, experts, static_cast<std::uint64_t>(experts));
    for (i64 t = 0; t < p.rows(); ++t) {
      double sum = 0;
      for (i64 e = 0; e < experts; ++e) sum += p(t, e) = std::exp(t % 2 ? std::round(p(t, e)) : real(t) / 4 * p(t, e));
      for (i64 e = 0; e < experts; ++e) p(t, e) = static_cast<real>(p(t, e) / sum);
    }
    for (const double mass : {0.0, 0.3, 0.6, 0.9, 1.0}) {
      const Assignment a = select_mass(p, mass);
      for (i64 t = 0; t < p.rows(); ++t) {
        std::vector<std::int32_t> expected;
        double before = 0;
        for (const std::int32_t e : best_by_sorting(p, t, experts)) {
          if (!expected.empty() && before >= mass && mass < 1) break;
          expected.push_back(e);
          before += p(t, e);
        }
        EXPECT_EQ(std::vector<std::int32_t>(a.expert.begin() + a.offset[t], a.expert.begin() + a.offset[t + 1]), expected);
      }
    }
  }
}

TEST(Assignment, CountsSelectedKeptAndFirstChoices) {
  Assignment a;
  a.experts = 4;
  a.offset = {0, 2, 2, 4, 5};
  a.expert = {2, 0, 2, 1, 0};
  a.weight.assign(5, 1);
  a.kept = {1, 1, 0, 1, 1};
  EXPECT_EQ(count_per_expert(a, false), (std::vector<i64>{2, 1, 2, 0}));
  EXPECT_EQ(count_per_expert(a, true), (std::vector<i64>{2, 1, 1, 0}));
  EXPECT_EQ(count_first_choices(a), (std::vector<i64>{1, 0, 2, 0}));
}

}  // namespace
}  // namespace pleiad::routing
