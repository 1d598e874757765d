// moe.split: every expert of the base model becomes s of 1/s the width, at the same ceiling on the work of a batch; and the resolved
// configuration, which a checkpoint stores, reads back as itself.
#include <numeric>

#include "model/tiny_model.hpp"
#include "support/start_mpi.hpp"

namespace pleiad::model {
namespace {

const Keys k_base = {{"experts", "3"}, {"expert_width", "24"}, {"capacity_factor", "1.25"}, {"layers", "1"}};

Keys split_by(i64 s, const Keys& more = {}) { return with(with(k_base, more), {{"split", std::to_string(s)}}); }

MoeConfig config_of(const Keys& keys) {
  Spec spec = spec_of("moe", keys);
  return MoeConfig::read(spec, 2);
}

std::string error_of(const Keys& keys) {
  return test::message_of<UserError>([&] { config_of(keys); });
}

struct Ceiling {
  i64 capacity = 0, work = 0;  // tokens an expert may take; that times the width, over all experts
};

/// What the layer of a model enforces: with all scores equal (and no noise) every token wants expert 0, which keeps as many as it may.
Ceiling ceiling(const Keys& keys, i64 sequences) {
  TinyModel tiny(test::grid_of_me(), k_tiny_model, with(keys, {{"eval_capacity", "train"}, {"allow_noncausal", "true"}}));
  const ParamInfo& w = *tiny.params.find("blocks/1/ffn/router/w");
  std::ranges::fill(tiny.params.slice(w, tiny.params.values(w.owner)), real{0});
  const LaneLayout lanes = tiny.lanes(2, sequences);
  ModelTrace trace;
  tiny.model->forward(tiny.params, TinyModel::batch(lanes), {tiny.grid, lanes, tiny.times, 1, 0, false}, trace);
  const std::vector<i64>& widths = tiny.model->trunk().moe_config().expert_widths;
  Ceiling c{trace.blocks[1].moe.statistics.expert_tokens[0], 0};
  c.work = c.capacity * std::accumulate(widths.begin(), widths.end(), i64{0});
  return c;
}

TEST(Split, MakesSmallExpertsOfTheSameTotalWidth) {
  EXPECT_EQ(config_of(split_by(1)).expert_widths, (std::vector<i64>{24, 24, 24}));
  EXPECT_EQ(config_of(split_by(2)).expert_widths, (std::vector<i64>(6, 12)));
  EXPECT_EQ(config_of(split_by(8)).expert_widths, (std::vector<i64>(24, 3)));
  EXPECT_EQ(config_of(split_by(8)).split, 8);
  for (const char* kind : {"arithmetic", "geometric", "hybrid"}) {
    const std::vector<i64> widths = config_of(split_by(4, {{"width_distribution", kind}})).expert_widths;
    EXPECT_EQ(widths.size(), 12u) << kind;
    EXPECT_EQ(std::accumulate(widths.begin(), widths.end(), i64{0}), 3 * 24) << kind;
    EXPECT_LT(widths.front(), widths.back()) << kind;
  }
}

// 20 to 40 tokens, so that the fair share 1.25 T / 3 is often not whole.
TEST(Split, KeepsTheCeilingOfTheBatchExactly) {
  const Keys routers[] = {{{"router", "topk"}}, {{"router", "threshold"}, {"threshold", "0"}}, {{"router", "sigmoid_bias"}}, {{"router", "noisy_topk"}},
                          {{"router", "matched_topk"}}, {{"router", "topk"}, {"capacity_factor", "0.7"}, {"min_capacity", "4"}},
                          {{"router", "threshold"}, {"threshold", "0"}, {"width_distribution", "geometric"}, {"width_ratio", "3"}}};
  for (const Keys& router : routers) {
    for (const i64 sequences : {5, 6, 7, 10}) {
      const Ceiling base = ceiling(with(k_base, router), sequences);
      for (const i64 s : {1, 2, 4, 8}) {
        SCOPED_TRACE(fmt::format("{}, {} sequences, split {}", name_of(router), sequences, s));
        const Ceiling small = ceiling(split_by(s, router), sequences);
        EXPECT_EQ(small.work, base.work);
        EXPECT_EQ(small.capacity, base.capacity) << "a small expert takes what the whole one took: s times the factor";
      }
    }
  }
  EXPECT_EQ(ceiling(k_base, 5).capacity, 9) << "1.25 * 20 / 3, rounded up";
}

TEST(Split, ResolvedConfigurationReadsBackAsItself) {
  for (const Keys& keys : {split_by(4), split_by(2, {{"preset", "xmoe"}, {"width_distribution", "arithmetic"}}), split_by(8, {{"preset", "switch"}}),
                           Keys{{"experts", "2"}, {"expert_widths", "4,9"}}}) {
    SCOPED_TRACE(name_of(keys));
    TinyModel first(test::grid_of_me(), k_tiny_model, keys);
    Keys stored;
    for (const Spec::Entry& e : first.moe_spec.resolved()) stored[e.key] = e.value;
    for (const auto& [key, value] : keys) EXPECT_EQ(stored.at(key), value) << key << ": as it was given";
    TinyModel again(test::grid_of_me(), k_tiny_model, stored);
    again.moe_spec.finish();
    Keys restored;
    for (const Spec::Entry& e : again.moe_spec.resolved()) restored[e.key] = e.value;
    EXPECT_EQ(restored, stored);
    const MoeConfig &a = first.model->trunk().moe_config(), &b = again.model->trunk().moe_config();
    EXPECT_EQ(a.expert_widths, b.expert_widths);
    EXPECT_EQ(a.split, b.split);
  }
}

TEST(Split, RefusesWhatCannotBeSplit) {
  EXPECT_TRUE(test::contains(error_of(split_by(5)), "moe.split = 5: must divide moe.expert_width = 24"));
  EXPECT_TRUE(test::contains(error_of(split_by(0)), "moe.split = 0"));
  EXPECT_TRUE(test::contains(error_of(split_by(48)), "moe.split = 48: must divide")) << "an expert narrower than 1";
  const std::string both = error_of({{"experts", "2"}, {"expert_widths", "4,8"}, {"split", "2"}});
  EXPECT_TRUE(test::contains(both, "moe.split contradicts moe.expert_widths")) << both;
  const std::string many = error_of({{"experts", "16777216"}, {"split", "2"}});
  EXPECT_TRUE(test::contains(many, "moe.split = 2: with moe.experts = 16777216")) << many;
  const std::string k = test::message_of<UserError>([] { TinyModel(test::grid_of_me(), k_tiny_model, split_by(2, {{"k", "7"}})); });
  EXPECT_TRUE(test::contains(k, "moe.k = 7") && test::contains(k, "moe.experts x moe.split is 6")) << k;
  EXPECT_NO_THROW(TinyModel(test::grid_of_me(), k_tiny_model, split_by(2, {{"k", "6"}})));
  Spec peer = spec_of("moe", {{"router", "peer"}, {"split", "2"}});
  MoeConfig::read(peer, 2);
  EXPECT_TRUE(test::contains(test::message_of<UserError>([&] { peer.finish(); }), "moe.split = 2: unknown")) << "neurons cannot be split";
}

}  // namespace
}  // namespace pleiad::model
