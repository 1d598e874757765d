// Sections [model] and [moe]: presets, defaults, and what contradictions are told the user.
#include "model/tiny_model.hpp"
#include "pleiad/model/presets.hpp"

namespace pleiad::model {
namespace {

std::string moe_error(const Keys& keys, i64 layers = 2) {
  return test::message_of<UserError>([&] {
    Spec spec = spec_of("moe", keys);
    MoeConfig::read(spec, layers);
  });
}

std::string model_error(const Keys& keys) {
  return test::message_of<UserError>([&] {
    Spec spec = spec_of("model", keys);
    ModelConfig::read(spec, 7);
  });
}

/// The value in force of every key of a section once its layer has been built.
std::map<std::string, std::string> in_force(const Keys& keys) {
  Spec spec = spec_of("moe", keys);
  const MoeConfig config = MoeConfig::read(spec, 2);
  ParamSet params;
  if (!config.layers.empty()) routing::router_variant(config.router).make({params, "", 4, config.expert_widths}, spec);
  spec.finish();
  std::map<std::string, std::string> all;
  for (const Spec::Entry& e : spec.resolved()) all[e.key] = e.value;
  return all;
}

TEST(Presets, SetWhatTheySay) {
  for (const Preset& preset : presets()) {
    const auto values = in_force({{"preset", preset.name}});
    for (const auto& [key, value] : preset.options) {
      EXPECT_EQ(values.count(key), 1u) << preset.name << ": " << key << " is read by nobody";
      if (values.count(key)) {
        EXPECT_EQ(values.at(key), value) << preset.name << ": " << key;
      }
    }
  }
  EXPECT_EQ(in_force({{"preset", "switch"}}).at("k"), "1");
  EXPECT_EQ(in_force({{"preset", "switch"}}).at("renormalize"), "false");
  EXPECT_EQ(in_force({{"preset", "gshard"}}).at("k"), "2");
  EXPECT_EQ(in_force({{"preset", "mixtral"}}).at("capacity_factor"), "0");
  EXPECT_EQ(in_force({{"preset", "mixtral"}}).at("activation"), "swiglu");
  EXPECT_EQ(in_force({{"preset", "dense"}}).at("layers"), "none");
}

TEST(Presets, LoseAgainstAKeyOfTheUser) {
  const auto values = in_force({{"preset", "gshard"}, {"k", "3"}, {"capacity_factor", "2"}});
  EXPECT_EQ(values.at("k"), "3");
  EXPECT_EQ(values.at("capacity_factor"), "2");
  EXPECT_EQ(values.at("balance_mode"), "first");
}

TEST(Presets, UnknownNameListsTheKnownOnes) {
  const std::string message = moe_error({{"preset", "swich"}});
  EXPECT_TRUE(test::contains(message, "moe.preset = swich")) << message;
  for (const Preset& preset : presets()) EXPECT_TRUE(test::contains(message, preset.name)) << message;
}

TEST(MoeConfig, RefusesContradictionsByName) {
  EXPECT_TRUE(test::contains(moe_error({{"router", "top"}}), "moe.router = top"));
  EXPECT_TRUE(test::contains(moe_error({{"experts", "0"}}), "moe.experts = 0"));
  EXPECT_TRUE(test::contains(moe_error({{"expert_width", "-3"}}), "moe.expert_width = -3"));
  EXPECT_TRUE(test::contains(moe_error({{"experts", "2"}, {"expert_widths", "4,-1"}}), "moe.expert_widths = 4,-1"));
  const std::string count = moe_error({{"experts", "4"}, {"expert_widths", "1,2,3"}});
  EXPECT_TRUE(test::contains(count, "moe.expert_widths")) << count;
  EXPECT_TRUE(test::contains(count, "moe.experts is 4")) << count;
  const std::string both = moe_error({{"experts", "2"}, {"expert_widths", "1,2"}, {"expert_width", "5"}});
  EXPECT_TRUE(test::contains(both, "moe.expert_width ") && test::contains(both, "moe.expert_widths")) << both;
  EXPECT_TRUE(test::contains(moe_error({{"placement", "random"}}), "moe.placement = random"));
  EXPECT_TRUE(test::contains(moe_error({{"layers", "0,2"}}), "moe.layers = 0,2"));
  EXPECT_TRUE(test::contains(moe_error({{"layers", "1,0"}}), "moe.layers = 1,0"));
  EXPECT_TRUE(test::contains(moe_error({{"layers", "1,1"}}), "moe.layers = 1,1"));
}

TEST(MoeConfig, ReadsLayersAndWidths) {
  Spec all = spec_of("moe", {{"experts", "3"}, {"expert_width", "8"}});
  const MoeConfig config = MoeConfig::read(all, 3);
  EXPECT_EQ(config.layers, (std::vector<i64>{0, 1, 2}));
  EXPECT_EQ(config.expert_widths, (std::vector<i64>{8, 8, 8}));
  Spec some = spec_of("moe", {{"experts", "5"}, {"expert_widths", "2x4,1,2x9"}, {"layers", "0,2"}});
  const MoeConfig other = MoeConfig::read(some, 3);
  EXPECT_EQ(other.layers, (std::vector<i64>{0, 2}));
  EXPECT_EQ(other.expert_widths, (std::vector<i64>{4, 4, 1, 9, 9}));
  Spec none = spec_of("moe", {{"layers", "none"}});
  EXPECT_TRUE(MoeConfig::read(none, 3).layers.empty());
}

TEST(ModelConfig, RefusesContradictionsByName) {
  EXPECT_TRUE(test::contains(model_error({{"vocab", "9"}}), "model.vocab = 9"));
  EXPECT_TRUE(test::contains(model_error({{"width", "12"}, {"heads", "5"}}), "model.heads = 5"));
  EXPECT_TRUE(test::contains(model_error({{"width", "6"}, {"heads", "2"}}), "model.heads = 2")) << "a head of odd width cannot be rotated";
  EXPECT_TRUE(test::contains(model_error({{"layers", "0"}}), "model.layers = 0"));
  EXPECT_TRUE(test::contains(model_error({{"dense_width", "-1"}}), "model.dense_width = -1"));
  EXPECT_TRUE(test::contains(model_error({{"dense_activation", "swiglu"}, {"dense_bias", "1"}}), "model.dense_bias"));
}

TEST(ModelConfig, DenseWidthIsFourTimesTheWidthUnlessGiven) {
  Spec spec = spec_of("model", {{"width", "24"}});
  EXPECT_EQ(ModelConfig::read(spec, 7).dense_width, 96);
}

}  // namespace
}  // namespace pleiad::model
