// Gradients of every registered router, under every option set of support/router_cases.hpp, against central differences.
// The objective is a random linear function of the combine weights plus the auxiliary losses with their coefficients.
#include "support/parameter_gradients.hpp"
#include "support/router_cases.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::routing {
namespace {

constexpr i64 k_width = 5;

class RouterGradient : public testing::Test {
 protected:
  const comm::Communicator me_ = test::just_me();
  const LaneLayout lanes_{4, 5, 2, 1, 0};  // 10 tokens, lanes of 2, 2, 2 and 4
  const Matrix x_ = test::normal_matrix(10, k_width, 7);

  const test::Surroundings around_{lanes_};

  RoutingContext context(bool training) const { return around_.context(me_, lanes_, 3, 1, 4, training); }

  /// Checks the gradients by x and by every parameter.
  void check(test::RouterUnderTest& under, bool training, double loss_scale) const {
    const RoutingContext c = context(training);
    Matrix x = test::rows_of(x_, 0, x_.rows()), d_x(x.rows(), x.cols());
    const auto reference = under.router->forward(under.params, x, c);
    const Assignment& a = reference->assignment;
    std::vector<real> slope(a.expert.size());
    test::fill_normal(slope, 99);
    for (std::size_t i = 0; i < slope.size(); ++i) slope[i] *= a.kept[i];
    bool moved = false;
    const auto objective = [&] {
      const auto trace = under.router->forward(under.params, x, c);
      moved = moved || trace->assignment.expert != a.expert || trace->assignment.kept != a.kept;
      double sum = 0;
      for (std::size_t i = 0; i < slope.size(); ++i) sum += slope[i] * trace->assignment.weight[i];
      for (const AuxLoss& loss : trace->losses) sum += loss_scale * loss.coefficient * loss.value;
      return sum;
    };
    under.params.allocate_grads(lanes_.my_lanes().count);
    under.router->backward(under.params, x, c, *reference, slope, loss_scale, d_x);
    EXPECT_TRUE(test::gradient_agrees("d_x", objective, x.flat(), d_x.flat()));
    test::expect_parameter_gradients(under.params, objective);
    EXPECT_FALSE(moved) << "a choice changed within the step: this test needs other inputs";
  }
};

TEST_F(RouterGradient, AgreesWithDifferencesInTraining) {
  test::for_every_router(k_width, [&](test::RouterUnderTest& router) { check(router, true, 1); });
}

TEST_F(RouterGradient, AgreesWithDifferencesInEvaluationAndWithScaledLosses) {
  test::for_every_router(k_width, [&](test::RouterUnderTest& router) { check(router, false, -0.5); });
}

TEST_F(RouterGradient, IsAddedToWhatIsThere) {
  test::for_every_router(k_width, [&](test::RouterUnderTest& router) {
    const RoutingContext c = context(true);
    const auto trace = router.router->forward(router.params, x_, c);
    std::vector<real> slope(trace->assignment.expert.size(), 1);
    Matrix once(x_.rows(), k_width), twice(x_.rows(), k_width);
    router.params.allocate_grads(lanes_.my_lanes().count);
    router.router->backward(router.params, x_, c, *trace, slope, 1, once);
    std::vector<real> first;
    for (const real g : router.params.grads(Owner::replicated)) first.push_back(g);
    for (int i = 0; i < 2; ++i) router.router->backward(router.params, x_, c, *trace, slope, 1, twice);
    for (std::size_t i = 0; i < once.flat().size(); ++i) EXPECT_NEAR(twice.flat()[i], 2 * once.flat()[i], 1e-12);
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(router.params.grads(Owner::replicated)[i], 3 * first[i], 1e-11);
  });
}

// Two terms that could hide each other: the same check with each auxiliary loss alone.
TEST_F(RouterGradient, OfEachAuxiliaryLossAloneAgreesWithDifferences) {
  for (const char* loss : {"balance_loss", "penalty_loss", "entropy_loss", "z_loss", "importance_loss", "load_loss"}) {
    const std::string variant = std::string(loss) == "load_loss" ? "noisy_topk" : "topk";
    test::RouterUnderTest router(router_variant(variant), {{{"k", "2"}, {loss, "1"}}}, k_width);
    SCOPED_TRACE(router.name);
    check(router, true, 1);
    const auto trace = router.router->forward(router.params, x_, context(true));
    ASSERT_EQ(trace->losses.size(), 1u);
    EXPECT_EQ(trace->losses[0].name + "_loss", loss);
    EXPECT_EQ(trace->losses[0].coefficient, 1);
    EXPECT_NE(trace->losses[0].value, 0);
  }
}

}  // namespace
}  // namespace pleiad::routing
