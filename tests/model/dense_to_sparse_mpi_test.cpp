// A dense model cut into small experts computes the same with all experts, and its router, which starts at zero, learns.
#include <gtest/gtest.h>

#include "model/tiny_model.hpp"
#include "pleiad/model/dense_to_sparse.hpp"

namespace pleiad::model {
namespace {

const Keys k_dense = {{"preset", "dense"}};

Keys sparse_keys(i64 experts, const std::string& activation, bool bias, const std::string& layers) {
  return {{"router", "threshold"}, {"threshold", "1"}, {"experts", std::to_string(experts)}, {"expert_width", std::to_string(12 / experts)},
          {"activation", activation}, {"expert_bias", bias ? "true" : "false"}, {"layers", layers}};
}

Keys dense_keys(const std::string& activation, bool bias) {
  return with(k_tiny_model, {{"dense_width", "12"}, {"dense_activation", activation}, {"dense_bias", bias ? "true" : "false"}});
}

ModelTrace forward(TinyModel& tiny, const LaneLayout& lanes, const Batch& batch) {
  ModelTrace trace;
  tiny.model->forward(tiny.params, batch, {tiny.grid, lanes, tiny.times, 1, 0, false}, trace);
  return trace;
}

TEST(SplitDense, ComputesTheDenseModelOnAnyNumberOfRanksInTheSameBits) {
  for (const auto& [activation, bias] : std::vector<std::pair<std::string, bool>>{{"gelu", true}, {"relu", false}, {"swiglu", false}}) {
    for (const i64 experts : {2, 3, 12}) {
      for (const char* layers : {"all", "1"}) {
        const Keys model = dense_keys(activation, bias), moe = sparse_keys(experts, activation, bias, layers);
        TinyModel dense(test::grid_of_me(), model, k_dense), alone(test::grid_of_me(), model, moe), sparse(test::grid_of_all(), model, moe);
        dense.shake();
        split_dense(dense.params, alone.params, experts);
        split_dense(dense.params, sparse.params, experts);
        const LaneLayout whole = dense.lanes(8, 6), lanes = sparse.lanes(8, 6);
        const ModelTrace expected = forward(dense, whole, TinyModel::batch(whole)), got = forward(alone, whole, TinyModel::batch(whole));
        const std::string what = activation + " " + std::to_string(experts) + " experts in " + layers;
        for (std::size_t i = 0; i < expected.log_p.flat().size(); ++i) {
          EXPECT_NEAR(got.log_p.flat()[i], expected.log_p.flat()[i], 1e-5) << what;
        }
        const ModelTrace here = forward(sparse, lanes, TinyModel::batch(lanes));
        EXPECT_TRUE(test::same_bits(here.log_p, test::my_rows(got.log_p, lanes))) << what;
      }
    }
  }
}

TEST(SplitDense, EveryRowOfTheZeroRouterHasAGradientOfItsOwn) {
  const Keys model = dense_keys("gelu", true), moe = sparse_keys(4, "gelu", true, "all");
  TinyModel dense(test::grid_of_me(), model, k_dense), sparse(test::grid_of_me(), model, moe);
  dense.shake();
  split_dense(dense.params, sparse.params, 4);
  const LaneLayout lanes = sparse.lanes(1, 5);
  sparse.params.allocate_grads(1);
  sparse.params.zero_grads();
  const Batch batch = TinyModel::batch(lanes);
  const StepContext context{sparse.grid, lanes, sparse.times, 1, 0, true};
  ModelTrace trace;
  sparse.model->forward(sparse.params, batch, context, trace);
  sparse.model->backward(sparse.params, batch, context, trace);
  for (i64 i = 0; i < sparse.params.count(); ++i) {
    const ParamInfo& p = sparse.params.info({i});
    if (!p.name.ends_with("router/w")) continue;
    const MatrixView weight = sparse.params.value({i}), gradient = sparse.params.grad({i});
    for (i64 e = 0; e < 4; ++e) {
      double size = 0, apart = 0;
      for (i64 j = 0; j < gradient.cols; ++j) {
        EXPECT_EQ(weight(e, j), 0);
        size += std::abs(static_cast<double>(gradient(e, j)));
        apart += std::abs(static_cast<double>(gradient(e, j) - gradient((e + 1) % 4, j)));
      }
      EXPECT_GT(size, 1e-4) << p.name << " row " << e;
      EXPECT_GT(apart, 1e-4) << p.name << " rows " << e << " and the next move together";
    }
  }
}

}  // namespace
}  // namespace pleiad::model
