// The gradient of the total loss of a whole tiny classifier, on sequences of different lengths, against central differences.
#include "model/tiny_classifier.hpp"
#include "support/parameter_gradients.hpp"

namespace pleiad::model {
namespace {

void check(const Keys& moe_keys, const Keys& model_keys = {}) {
  TinyClassifier tiny(test::grid_of_me(), with(k_tiny_model, model_keys), moe_keys);
  const LaneLayout lanes = tiny.lanes(2, 4, 4);
  const Batch batch = TinyClassifier::batch(lanes, 4);
  ASSERT_NE(std::ranges::min(batch.length), std::ranges::max(batch.length));
  const StepContext context{tiny.grid, lanes, tiny.times, 11, 2, true};
  ModelTrace trace, other;
  tiny.model->forward(tiny.params, batch, context, trace);
  tiny.params.allocate_grads(lanes.my_lanes().count);
  tiny.model->backward(tiny.params, batch, context, trace);
  bool moved = false;
  const auto objective = [&] {
    tiny.model->forward(tiny.params, batch, context, other);
    for (const i64 layer : tiny.model->trunk().moe_layers()) {
      const routing::Assignment &a = trace.blocks[layer].moe.router->assignment, &b = other.blocks[layer].moe.router->assignment;
      moved = moved || a.expert != b.expert || a.offset != b.offset || a.kept != b.kept;
    }
    return other.report.total;
  };
  test::expect_parameter_gradients(tiny.params, objective, {.tolerance = 3e-6});
  EXPECT_FALSE(moved) << "a choice changed within the step: this test needs other inputs";
}

TEST(ClassifierGradient, OfTopKWithEveryLossAgreesWithDifferences) {
  check(with(k_tiny_moe, {{"k", "2"}, {"balance_loss", "0.3"}, {"balance_mode", "tokens"}, {"penalty_loss", "0.2"}, {"entropy_loss", "0.3"},
                          {"z_loss", "0.1"}, {"importance_loss", "0.4"}, {"capacity_factor", "0.7"}}));
}

TEST(ClassifierGradient, OfAttentionDrivenBudgetAgreesWithDifferences) {
  check(with(k_tiny_moe, {{"router", "damoe"}, {"k_rule", "budget"}, {"k_mean", "2.5"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
}

TEST(ClassifierGradient, OfAttentionReceivedAgreesWithDifferences) {
  check(with(k_tiny_moe, {{"router", "damoe"}, {"importance", "received"}, {"entropy_loss", "0.2"}, {"activation", "swiglu"}}));
}

TEST(ClassifierGradient, OfExpertChoiceAgreesWithDifferences) {
  check(with(k_tiny_moe, {{"router", "expert_choice"}, {"choices", "1.5"}, {"z_loss", "0.1"}}));
}

TEST(ClassifierGradient, OfGeneratedExpertsAgreesWithDifferences) {
  check(with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
}

TEST(ClassifierGradient, OfAdaptersAgreesWithDifferences) {
  for (const char* kind : {"shared", "per_expert"}) {
    check(with(k_tiny_moe, {{"router", "topp"}, {"p", "0.5"}, {"adapter", kind}, {"adapter_width", "3"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
  }
}

TEST(ClassifierGradient, OfDenseAgreesWithDifferences) { check({{"preset", "dense"}}, {{"dense_bias", "true"}}); }

}  // namespace
}  // namespace pleiad::model
