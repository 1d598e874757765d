// The gradient of the total loss of a whole tiny language model by every parameter, against central differences.
#include "model/tiny_model.hpp"
#include "support/parameter_gradients.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::model {
namespace {

void check(const Keys& model_keys, const Keys& moe_keys, Task task = Task::lm) {
  TinyModel tiny(test::grid_of_me(), with(k_tiny_model, model_keys), moe_keys, exchange::Combine::home, 0, task);
  tiny.shake();
  const LaneLayout lanes = tiny.lanes(2, 3);
  const Batch batch = task == Task::seq2seq ? TinyModel::pairs(lanes) : task == Task::masked_lm ? TinyModel::masked(lanes) : TinyModel::batch(lanes, true);
  const StepContext context{tiny.grid, lanes, tiny.times, 11, 2, true};
  ModelTrace trace;
  tiny.model->forward(tiny.params, batch, context, trace);
  std::vector<routing::Assignment> chosen;
  for (const i64 layer : tiny.model->moe_layers()) chosen.push_back(trace.blocks[layer].moe.router->assignment);
  tiny.params.allocate_grads(lanes.my_lanes().count);
  tiny.model->backward(tiny.params, batch, context, trace);

  bool moved = false;
  ModelTrace other;
  const auto objective = [&] {
    tiny.model->forward(tiny.params, batch, context, other);
    for (std::size_t l = 0; l < chosen.size(); ++l) {
      const routing::Assignment& a = other.blocks[tiny.model->moe_layers()[l]].moe.router->assignment;
      moved = moved || a.expert != chosen[l].expert || a.offset != chosen[l].offset || a.kept != chosen[l].kept;
    }
    return other.report.total;
  };
  test::expect_parameter_gradients(tiny.params, objective, {.tolerance = 3e-6});
  EXPECT_FALSE(moved) << "a choice changed within the step: this test needs other inputs";
}

TEST(LanguageModelGradient, OfSwitchAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"preset", "switch"}, {"balance_loss", "0.3"}, {"z_loss", "0.2"}}));
}

TEST(LanguageModelGradient, OfSwitchWithTiedHeadAndBiasesAgreesWithDifferences) {
  check({{"tied_head", "true"}, {"dense_bias", "true"}}, with(k_tiny_moe, {{"preset", "switch"}, {"expert_bias", "true"}, {"layers", "0"}}));
}

TEST(LanguageModelGradient, OfGshardAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"preset", "gshard"}, {"balance_loss", "0.3"}, {"capacity_factor", "0.6"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfMixtralWithEveryAuxiliaryLossAgreesWithDifferences) {
  check({{"dense_activation", "swiglu"}, {"tied_head", "true"}},
        with(k_tiny_moe, {{"preset", "mixtral"}, {"penalty_loss", "0.2"}, {"entropy_loss", "0.3"}, {"z_loss", "0.1"}, {"importance_loss", "0.4"}}));
}

TEST(LanguageModelGradient, OfNoisyTopKAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"router", "noisy_topk"}, {"k", "2"}, {"load_loss", "0.3"}, {"importance_loss", "0.2"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfHmoeAgreesWithDifferences) {
  check({}, {{"preset", "hmoe"}, {"experts", "4"}, {"expert_width", "5"}, {"penalty_loss", "0.4"}, {"entropy_loss", "0.3"}});
}

TEST(LanguageModelGradient, OfXmoeAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"preset", "xmoe"}, {"threshold", "0.7"}, {"balance_loss", "0.3"}, {"capacity_factor", "1.2"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfHypermoeWithOneChoiceAgreesWithDifferences) {
  check({}, with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"balance_loss", "0.3"}, {"z_loss", "0.2"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfHypermoeWithTwoChoicesAgreesWithDifferences) {
  check({}, with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"k", "2"}, {"renormalize", "true"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfGeneratedExpertsUnderOtherInputsAgreesWithDifferences) {
  for (const char* input : {"selected", "constant"}) {
    check({}, with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"k", "2"}, {"hyper_input", input}, {"capacity_factor", "0.6"}}));
  }
}

TEST(LanguageModelGradient, OfGeneratedExpertsWithoutLayerEmbeddingAgreesWithDifferences) {
  check({}, with(with(k_tiny_moe, k_small_hyper), {{"preset", "hypermoe"}, {"hyper_layer_embedding", "0"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfAdaptersAgreesWithDifferences) {
  for (const char* preset : {"moe_shared_adapter", "moe_expert_adapter"}) {
    check({}, with(k_tiny_moe, {{"preset", preset}, {"adapter_width", "3"}, {"z_loss", "0.2"}, {"layers", "all"}}));
    check({}, with(k_tiny_moe, {{"preset", preset}, {"adapter_width", "2"}, {"k", "3"}, {"renormalize", "true"}, {"capacity_factor", "0.6"}}));
  }
}

TEST(LanguageModelGradient, OfControlsWithVaryingNumbersOfExpertsAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"router", "matched_topk"}, {"mean_k", "1.7"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
  check({}, with(k_tiny_moe, {{"router", "random_k"}, {"k_histogram", "1,2,1"}, {"adapter", "per_expert"}, {"adapter_width", "2"}}));
}

TEST(LanguageModelGradient, OfDamoeAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"preset", "damoe"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
  check({}, with(k_tiny_moe, {{"preset", "damoe"}, {"k_rule", "literal"}, {"activation", "swiglu"}}));
}

TEST(LanguageModelGradient, OfDeepseekAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"preset", "deepseek"}, {"gate_scale", "2.5"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfExpertChoiceAgreesWithDifferences) {
  check({}, with(k_tiny_moe, {{"router", "expert_choice"}, {"choices", "1.5"}, {"allow_noncausal", "true"}, {"balance_loss", "0.3"}, {"layers", "all"}}));
}

TEST(LanguageModelGradient, OfProductKeysAgreesWithDifferences) {
  check({}, {{"preset", "peer"}, {"layers", "1"}, {"sub_keys", "4"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "4"}});
  check({}, {{"preset", "pkm"}, {"layers", "all"}, {"sub_keys", "3"}, {"heads", "2"}, {"k", "2"}, {"query_dim", "4"}, {"batch_norm", "false"}});
}

TEST(LanguageModelGradient, OfDenseAgreesWithDifferencesTiedAndUntied) {
  check({}, {{"preset", "dense"}});
  check({{"tied_head", "true"}, {"dense_activation", "relu"}}, {{"preset", "dense"}});
}

TEST(LanguageModelGradient, OfPairsWithPrefixesAndPaddingAgreesWithDifferences) {
  const Keys longer{{"seq_len", "6"}};
  check(longer, with(k_tiny_moe, {{"preset", "gshard"}, {"balance_loss", "0.3"}, {"capacity_factor", "0.9"}, {"z_loss", "0.1"}, {"layers", "all"}}), Task::seq2seq);
  check(longer, with(k_tiny_moe, {{"preset", "xmoe"}, {"threshold", "0.7"}, {"entropy_loss", "0.2"}}), Task::seq2seq);
}

TEST(LanguageModelGradient, OfMaskedTokensSeenFromBothSidesAgreesWithDifferences) {
  const Keys longer{{"seq_len", "6"}};
  check(longer, with(k_tiny_moe, {{"preset", "switch"}, {"balance_loss", "0.3"}, {"z_loss", "0.2"}, {"layers", "all"}}), Task::masked_lm);
  check(with(longer, {{"tied_head", "true"}}), with(k_tiny_moe, {{"router", "damoe"}, {"k_rule", "budget"}, {"k_mean", "2.5"}, {"layers", "all"}}), Task::masked_lm);
  check(longer, with(k_tiny_moe, {{"router", "damoe"}, {"importance", "column"}, {"balance_loss", "0.3"}}), Task::masked_lm);
  check(longer, with(k_tiny_moe, {{"router", "expert_choice"}, {"choices", "1.5"}, {"entropy_loss", "0.2"}, {"layers", "all"}}), Task::masked_lm);
  check(longer, {{"preset", "dense"}}, Task::masked_lm);
}

}  // namespace
}  // namespace pleiad::model
