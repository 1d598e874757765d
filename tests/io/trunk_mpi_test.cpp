// What a model takes from a checkpoint of another task, on any number of ranks: the trunk with its experts, and of the embedding the tokens that both know.
#include "model/tiny_classifier.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

using model::Keys;

const Keys k_moe = model::with(model::k_tiny_moe, {{"router", "sigmoid_bias"}, {"k", "2"}, {"layers", "all"}});

class TrunkTest : public test::SharedFolder {
 protected:
  /// A checkpoint of an encoder of masked tokens.
  std::string saved(model::TinyModel& encoder) const {
    encoder.shake();
    CheckpointInfo info;
    info.vocab = model::k_tiny_vocab;
    info.task = model::Task::masked_lm;
    write_checkpoint(encoder.grid, at("c.h5"), info, encoder.params, nullptr);
    return at("c.h5");
  }
};

std::vector<real> values_of(ParamSet& params, const ParamInfo& p) {
  const auto v = params.slice(p, params.values(p.owner));
  return {v.begin(), v.end()};
}

TEST_F(TrunkTest, GoesToAClassifierWhoseHeadKeepsItsValues) {
  model::TinyModel encoder(test::grid_of_all(), model::k_tiny_model, k_moe, exchange::Combine::home, 0, model::Task::masked_lm);
  const std::string path = saved(encoder);
  model::TinyClassifier classifier(test::grid_of_all(), model::k_tiny_model, k_moe);
  const std::vector<real> head = values_of(classifier.params, *classifier.params.find("head")), embedding = values_of(classifier.params, *classifier.params.find("embed"));
  load_trunk(classifier.grid, path, model::k_tiny_vocab - 1, classifier.params);
  for (const ParamInfo& p : classifier.params.infos()) {
    if (p.name == "head" || p.name == "embed") continue;
    EXPECT_EQ(values_of(classifier.params, p), values_of(encoder.params, *encoder.params.find(p.name))) << p.name;
  }
  EXPECT_EQ(values_of(classifier.params, *classifier.params.find("head")), head);
  // The last token is not of the tokenizer: its row begins anew.
  std::vector<real> expected = values_of(encoder.params, *encoder.params.find("embed"));
  std::copy(embedding.end() - 8, embedding.end(), expected.end() - 8);
  EXPECT_EQ(values_of(classifier.params, *classifier.params.find("embed")), expected);
}

TEST_F(TrunkTest, WithoutAHeadOfItsOwnIsTakenAsWell) {
  const Keys tied = model::with(model::k_tiny_model, {{"tied_head", "true"}});
  model::TinyModel encoder(test::grid_of_all(), tied, k_moe, exchange::Combine::home, 0, model::Task::masked_lm);
  const std::string path = saved(encoder);
  model::TinyClassifier classifier(test::grid_of_all(), tied, k_moe);
  load_trunk(classifier.grid, path, model::k_tiny_vocab, classifier.params);
  EXPECT_EQ(values_of(classifier.params, *classifier.params.find("embed")), values_of(encoder.params, *encoder.params.find("embed")));
}

TEST_F(TrunkTest, ThatDoesNotFitIsNamed) {
  model::TinyModel encoder(test::grid_of_all(), model::k_tiny_model, k_moe, exchange::Combine::home, 0, model::Task::masked_lm);
  const std::string path = saved(encoder);
  const auto problem = [&](const Keys& model_keys, const Keys& moe_keys, i64 tokens) {
    model::TinyClassifier classifier(test::grid_of_all(), model_keys, moe_keys);
    return test::problem_on_all(comm_, [&] { load_trunk(classifier.grid, path, tokens, classifier.params); });
  };
  EXPECT_EQ(problem(model::k_tiny_model, k_moe, model::k_tiny_vocab), "");
  EXPECT_MENTIONS(problem(model::k_tiny_model, k_moe, model::k_tiny_vocab + 1), "/params/embed has no rows for 8 tokens");
  EXPECT_MENTIONS(problem(model::with(model::k_tiny_model, {{"width", "12"}}), k_moe, model::k_tiny_vocab), "has shape [7, 8]; [7, 12] is needed");
  EXPECT_MENTIONS(problem(model::with(model::k_tiny_model, {{"layers", "1"}}), k_moe, model::k_tiny_vocab), "which the model does not have");
}

}  // namespace
}  // namespace pleiad::io
