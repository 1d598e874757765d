// Gradients of every kind of expert by rows, combine weights and parameters. Objective: sum over rows of weight * <d_y, E(row)>.
#include "experts/bank_sample.hpp"
#include "support/parameter_gradients.hpp"

namespace pleiad::experts {
namespace {

TEST(FfnBankGradient, AgreesWithDifferencesForEveryKindAndWidth) {
  for (const Kind& kind : k_kinds) {
    SCOPED_TRACE(fmt::format("{}{}", kind.activation, kind.bias ? " with bias" : ""));
    for (const i64 width : {5, 8}) {  // of 8 are also experts whose tokens are read where they lie
      BankSample s(kind.activation, kind.bias, width, {1, 8, 3, 4}, {0, 2, 7, 7, 8});
      const auto objective = [&] {
        BankTrace trace;
        const Matrix out = s.forward(trace);
        double sum = 0;
        for (i64 r = 0; r < out.rows(); ++r) {
          for (i64 j = 0; j < s.width; ++j) sum += s.weight[r] * s.d_y(r, j) * out(r, j);
        }
        return sum;
      };
      BankTrace trace;
      s.forward(trace);
      Matrix d_rows(s.rows.rows(), s.width);
      std::vector<real> d_weight(s.weight.size(), 1e9);
      test::fill_normal(d_rows.flat(), 5);  // must be overwritten
      s.backward(trace, d_rows, d_weight);
      EXPECT_TRUE(test::gradient_agrees("rows", objective, s.rows.flat(), d_rows.flat()));
      EXPECT_TRUE(test::gradient_agrees("weight", objective, std::span<real>(s.weight), std::span<const real>(d_weight)));
      test::expect_parameter_gradients(s.params, objective);
    }
  }
}

TEST(FeedForwardGradient, OfADenseLayerWithoutWeightsAgreesWithDifferences) {
  for (const Kind& kind : k_kinds) {
    SCOPED_TRACE(fmt::format("{}{}", kind.activation, kind.bias ? " with bias" : ""));
    ParamSet params;
    const FeedForward layer(params, "dense/", 0, -1, FeedForwardKind::from(kind.activation, kind.bias), 4, 6, 2);
    params.allocate();
    params.allocate_grads(3);
    for (const ParamInfo& p : params.infos()) test::fill_normal(params.slice(p, params.values(p.owner)), p.name.size(), 0.6);
    Matrix x = test::normal_matrix(5, 4, 1), d_x(5, 4), out(5, 4);
    const Matrix d_y = test::normal_matrix(5, 4, 2);
    FeedForwardRoom room;
    std::vector<real> trace(static_cast<std::size_t>(layer.trace_size(5)));
    const auto objective = [&] {
      layer.forward(params, x, trace, room, out);
      double sum = 0;
      for (std::size_t i = 0; i < out.flat().size(); ++i) sum += out.flat()[i] * d_y.flat()[i];
      return sum;
    };
    objective();
    layer.backward(params, x, trace, {}, d_y, room, d_x, {}, 2);
    EXPECT_TRUE(test::gradient_agrees("x", objective, x.flat(), d_x.flat()));
    test::expect_parameter_gradients(params, objective);
    for (const real g : params.grads(Owner::replicated).first(static_cast<std::size_t>(2 * params.size(Owner::replicated)))) {
      ASSERT_EQ(g, 0) << "the gradient belongs to lane 2";
    }
  }
}

}  // namespace
}  // namespace pleiad::experts
