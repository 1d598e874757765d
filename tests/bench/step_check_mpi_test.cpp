// The gradient of a whole model passes the check of the benchmark of steps, on any number of ranks; one with a mistake in any part does not.
#include "pleiad/bench/step_check.hpp"

#include <gtest/gtest.h>

#include "model/tiny_model.hpp"
#include "support/alone.hpp"

namespace pleiad::bench {
namespace {

using model::Keys;

const Keys k_two_blocks = {{"width", "32"}, {"layers", "2"}, {"heads", "2"}, {"seq_len", "16"}, {"dense_width", "24"}};

/// A language model whose gradients of the parameters with `part` in their name are too long by 5 %.
class Mistaken : public model::LanguageModel {
 public:
  Mistaken(ParamSet& params, const model::ModelConfig& config, Spec& moe, const model::MoeConfig& moe_config, const comm::ProcessGrid& grid,
           const exchange::Exchanger& exchanger, std::string part)
      : LanguageModel(params, config, moe, moe_config, grid, exchanger), part_(std::move(part)) {}

  void backward(ParamSet& params, const model::Batch& batch, const model::StepContext& context, const model::ModelTrace& trace) const override {
    LanguageModel::backward(params, batch, context, trace);
    for (const ParamInfo& p : params.infos()) {
      if (part_.empty() || !p.trainable || p.name.find(part_) == std::string::npos) continue;
      for (i64 lane = 0; lane < (p.owner == Owner::expert ? 1 : params.grad_lanes()); ++lane) {
        const MatrixView grad = params.grad(ParamId{p.index}, lane);
        for (i64 i = 0; i < grad.size(); ++i) grad.data[i] *= real(1.05);
      }
    }
  }

 private:
  std::string part_;
};

Check checked(const Keys& moe_keys, const std::string& mistake) {
  const comm::ProcessGrid grid = test::grid_of_all();
  const auto exchanger = exchange::make_exchanger({"auto", exchange::Combine::home, 0}, grid.expert_group());
  Spec model_spec = model::spec_of("model", k_two_blocks), moe_spec = model::spec_of("moe", moe_keys);
  ParamSet params;
  const model::ModelConfig config = model::ModelConfig::read(model_spec, model::k_tiny_vocab);
  const model::MoeConfig moe = model::MoeConfig::read(moe_spec, config.layers);
  const Mistaken model(params, config, moe_spec, moe, grid, *exchanger, mistake);
  params.allocate();
  params.initialise(5);
  const LaneLayout lanes(8, 16, config.seq_len, grid.world().size(), grid.world().rank());
  return check_gradient(model, params, grid, lanes, model::TinyModel::batch(lanes), 3);
}

const Keys k_models[] = {
    {{"layers", "1"}, {"experts", "4"}, {"expert_width", "16"}, {"k", "2"}},
    {{"experts", "6"}, {"expert_width", "20"}, {"k", "3"}, {"activation", "swiglu"}, {"capacity_factor", "0.5"}},
    {{"preset", "gshard"}, {"experts", "4"}, {"expert_width", "16"}},
    {{"preset", "peer"}, {"sub_keys", "9"}, {"heads", "2"}, {"k", "4"}},
};

TEST(CheckGradient, PassesModelsOfEveryKind) {
  for (const Keys& keys : k_models) {
    const Check c = checked(keys, "");
    EXPECT_TRUE(c.passed()) << model::name_of(keys) << c.what << ": " << c.error;
  }
}

TEST(CheckGradient, CatchesFivePerCentInAnyPart) {
  for (const char* part : {"embed", "attn", "norm", "blocks/0/ffn", "blocks/1/ffn/experts", "router", "head"}) {
    const Check c = checked(k_models[0], part);
    EXPECT_FALSE(c.passed()) << part << ": " << c.error;
  }
}

}  // namespace
}  // namespace pleiad::bench
