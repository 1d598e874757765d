// Numbers of a run that need no run: learning rates, figures of layers, and what section [train] refuses.
#include <map>

#include "pleiad/train/trainer.hpp"
#include "support/sample.hpp"

namespace pleiad::train {
namespace {

TEST(Schedule, WarmsUpLinearlyAndThenKeepsItsRule) {
  Schedule s{.kind = Schedule::Kind::constant, .peak = 2, .floor = 0.1, .warmup = 4, .steps = 14};
  EXPECT_DOUBLE_EQ(s.at(0), 0.5);
  EXPECT_DOUBLE_EQ(s.at(3), 2);
  EXPECT_DOUBLE_EQ(s.at(4), 2);
  EXPECT_DOUBLE_EQ(s.at(1000), 2);
  s.kind = Schedule::Kind::cosine;
  EXPECT_DOUBLE_EQ(s.at(1), 1);
  EXPECT_DOUBLE_EQ(s.at(4), 2);
  EXPECT_DOUBLE_EQ(s.at(9), 2 * (0.1 + 0.9 * 0.5)) << "half way";
  EXPECT_DOUBLE_EQ(s.at(14), 0.2);
  EXPECT_DOUBLE_EQ(s.at(1000), 0.2) << "a longer run stays at the floor";
  s.kind = Schedule::Kind::inverse_sqrt;
  EXPECT_DOUBLE_EQ(s.at(3), 2);
  EXPECT_DOUBLE_EQ(s.at(15), 1) << "four times the warm-up, half the rate";
  for (i64 step = 4; step < 40; ++step) EXPECT_LT(s.at(step), s.at(step - 1));
}

TEST(Schedule, WithoutWarmUpStartsAtThePeak) {
  for (const auto kind : {Schedule::Kind::constant, Schedule::Kind::cosine, Schedule::Kind::inverse_sqrt}) {
    EXPECT_DOUBLE_EQ((Schedule{.kind = kind, .peak = 3, .floor = 0, .warmup = 0, .steps = 10}.at(0)), 3);
  }
}

TEST(LoadFigures, OfAnEvenLoadAreNeutral) {
  const LoadFigures f = load_figures(std::vector<i64>{5, 5, 5, 5}, std::vector<double>{2, 2, 2, 2});
  EXPECT_DOUBLE_EQ(f.imbalance, 1);
  EXPECT_DOUBLE_EQ(f.flops_imbalance, 1);
  EXPECT_DOUBLE_EQ(f.variation, 0);
  EXPECT_DOUBLE_EQ(f.entropy, 1);
  EXPECT_NEAR(f.divergence, 0, 1e-15);
}

TEST(LoadFigures, OfAnUnevenLoadAreWhatTheHandFinds) {
  const LoadFigures f = load_figures(std::vector<i64>{6, 2, 0, 0}, std::vector<double>{1, 9, 5, 5});
  EXPECT_DOUBLE_EQ(f.imbalance, 3);
  EXPECT_DOUBLE_EQ(f.flops_imbalance, 18.0 / 6) << "flops 6, 18, 0, 0";
  EXPECT_NEAR(f.variation, std::sqrt(6.0) / 2, 1e-12);
  EXPECT_NEAR(f.entropy, -(0.75 * std::log(0.75) + 0.25 * std::log(0.25)) / std::log(4.0), 1e-12);
  EXPECT_NEAR(f.divergence, 0.75 * std::log(0.75 * 4) + 0.25 * std::log(0.25 * 4), 1e-12);
}

TEST(LoadFigures, OfOneExpertOrNoTokensAreFinite) {
  EXPECT_EQ(load_figures(std::vector<i64>{9}, std::vector<double>{3}).entropy, 1);
  EXPECT_EQ(load_figures(std::vector<i64>{9}, std::vector<double>{3}).divergence, 0);
  const LoadFigures none = load_figures(std::vector<i64>{0, 0}, std::vector<double>{3, 3});
  EXPECT_EQ(none.imbalance, 1);
  EXPECT_EQ(none.variation, 0);
  EXPECT_EQ(none.divergence, 0);
}

TEST(RankLoad, IsWhatTheExpertsOfARankHaveToDo) {
  LayerFacts facts;
  facts.flops_per_row = {10, 1, 100};
  const std::vector<i64> mine = {0, 2};
  const experts::ExpertRows rows{.runs = {{0, 0, 3}, {1, 3, 5}}, .token = {0, 1, 2, 0, 1}, .weight = {}};
  facts.widths = {1, 10, 100};
  EXPECT_EQ(rows_flops(rows, mine, facts), 3 * 10 + 2 * 100);
  facts.widths = {10};
  EXPECT_EQ(rows_flops(rows, mine, facts), 5 * 10) << "all of one width";
  EXPECT_EQ(rows_flops({}, {}, facts), 0) << "a rank without experts";
  EXPECT_EQ(peak_over_mean(std::vector<double>{1, 5, 0}), 2.5);
  EXPECT_EQ(peak_over_mean(std::vector<double>{0, 0}), 1);
}

TEST(LoadFigures, CountDeadAndOverloadedExperts) {
  // Flops 6, 18, 0, 0, 3: mean 5.4, so only the second has more than twice that.
  const LoadFigures f = load_figures(std::vector<i64>{6, 2, 0, 0, 1}, std::vector<double>{1, 9, 5, 5, 3});
  EXPECT_EQ(f.dead, 2);
  EXPECT_EQ(f.overloaded, 1);
  const LoadFigures edge = load_figures(std::vector<i64>{2, 0}, std::vector<double>{1, 1});
  EXPECT_EQ(edge.overloaded, 0) << "twice the mean is not more than twice";
  const LoadFigures none = load_figures(std::vector<i64>{0, 0}, std::vector<double>{3, 3});
  EXPECT_EQ(none.dead, 2);
  EXPECT_EQ(none.overloaded, 0);
}

TEST(UsageFigures, AreWhatTheHandFinds) {
  EXPECT_EQ(usage_figures(std::vector<i64>{7, 7, 7, 7}).usage, 1);
  EXPECT_NEAR(usage_figures(std::vector<i64>{7, 7, 7, 7}).unevenness, 0, 1e-15);
  const UsageFigures half = usage_figures(std::vector<i64>{5, 0, 5, 0});
  EXPECT_EQ(half.usage, 0.5);
  EXPECT_NEAR(half.unevenness, std::log(2.0), 1e-15) << "ln 4 - ln 2";
  EXPECT_NEAR(usage_figures(std::vector<i64>{0, 9, 0, 0}).unevenness, std::log(4.0), 1e-15);
  EXPECT_NEAR(usage_figures(std::vector<i64>{1, 3}).unevenness, std::log(2.0) + 0.25 * std::log(0.25) + 0.75 * std::log(0.75), 1e-15);
  EXPECT_EQ(usage_figures(std::vector<i64>{0, 0}).usage, 0);
  EXPECT_EQ(usage_figures(std::vector<i64>{0, 0}).unevenness, 0);
}

model::LayerStatistics hand_counted() {
  model::LayerStatistics s;
  s.expert_tokens = {4, 2, 0};
  s.expert_weight = {3, 1, 0};
  s.used = {0, 1};
  s.position_tokens = {4, 0};
  s.position_kept = {6, 0};
  s.position_importance = {i64{1} << 30, 0};
  s.tokens = 4;
  s.generated_experts = 2;
  return s;
}

TEST(LoadFigures, MayLeaveOutExpertsWithoutTokens) {
  const std::vector<i64> tokens{6, 2, 1};
  const std::vector<double> flops{1, 9, 3};
  const LoadFigures some = load_figures(tokens, flops, 2), all = load_figures(std::vector<i64>{6, 2, 0, 0, 1}, std::vector<double>{1, 9, 5, 5, 3});
  EXPECT_EQ(some.imbalance, all.imbalance);
  EXPECT_EQ(some.flops_imbalance, all.flops_imbalance);
  EXPECT_EQ(some.variation, all.variation);
  EXPECT_EQ(some.entropy, all.entropy);
  EXPECT_EQ(some.divergence, all.divergence);
  EXPECT_EQ(some.dead, all.dead);
  EXPECT_EQ(some.overloaded, all.overloaded);
  EXPECT_EQ(usage_figures(tokens, 2).usage, 0.6);
  EXPECT_EQ(usage_figures(tokens, 2).unevenness, usage_figures(std::vector<i64>{6, 2, 0, 0, 1}).unevenness);
}

TEST(LayerFigures, AreWhatTheHandFinds) {
  const LayerFacts facts{.flops_per_row = {10, 40, 10}, .parameters = {5, 20, 5}, .router_flops = 7, .side_flops = 3, .widths = {1, 4}, .width_of = {0, 1, 0}};
  const LayerFigures f = layer_figures(hand_counted(), facts);
  EXPECT_DOUBLE_EQ(f.mean_k, 1.5);
  EXPECT_DOUBLE_EQ(f.expert_flops_per_token, 30) << "(40 + 80) / 4";
  EXPECT_DOUBLE_EQ(f.flops_per_token, 40);
  EXPECT_DOUBLE_EQ(f.expert_parameters_per_token, 15) << "(20 + 40) / 4";
  EXPECT_DOUBLE_EQ(f.tokens_per_generated, 2);
  EXPECT_DOUBLE_EQ(f.width_share[0], 4.0 / 6);
  EXPECT_DOUBLE_EQ(f.width_share[1], 2.0 / 6);
  EXPECT_DOUBLE_EQ(f.width_flops_share[0], 1.0 / 3);
  EXPECT_DOUBLE_EQ(f.width_flops_share[1], 2.0 / 3);
  EXPECT_DOUBLE_EQ(f.k_by_position[0], 1.5);
  EXPECT_DOUBLE_EQ(f.importance_by_position[0], 0.25);
  EXPECT_TRUE(std::isnan(f.k_by_position[1])) << "only padding stands there";
  EXPECT_DOUBLE_EQ(f.load.imbalance, 2);
  EXPECT_DOUBLE_EQ(f.load.flops_imbalance, 2) << "80 over the mean of 40, 80, 0";
  EXPECT_EQ(f.load.dead, 1);
  EXPECT_EQ(f.load.overloaded, 0);
  EXPECT_DOUBLE_EQ(f.use.usage, 2.0 / 3);
}

TEST(LayerFigures, OfNoTokensAreFinite) {
  model::LayerStatistics s;
  s.expert_tokens = s.expert_weight = {0, 0};
  const LayerFigures f = layer_figures(s, {.flops_per_row = {1, 1}, .parameters = {1, 1}, .widths = {3}, .width_of = {0, 0}});
  EXPECT_EQ(f.mean_k, 0);
  EXPECT_EQ(f.width_share[0], 0);
  EXPECT_EQ(f.flops_per_token, 0);
  EXPECT_EQ(f.tokens_per_generated, 0);
}

TEST(TrainConfig, ReadsWhichStepsToRecord) {
  const auto every = [](const std::map<std::string, std::string>& keys) {
    Spec metrics("metrics");
    for (const auto& [key, value] : keys) metrics.set(key, value);
    TrainConfig c;
    c.read_metrics(metrics);
    return c.record_every;
  };
  EXPECT_EQ(every({}), 0);
  EXPECT_EQ(every({{"record_routing", "full"}, {"record_every", "7"}}), 1);
  EXPECT_EQ(every({{"record_routing", "sampled"}}), 100);
  EXPECT_EQ(every({{"record_routing", "sampled"}, {"record_every", "7"}}), 7);
  EXPECT_EQ(every({{"record_routing", "none"}, {"record_every", "7"}}), 0);
}

std::string config_error(const std::string& key, const std::string& value) {
  return test::message_of<UserError>([&] {
    Spec train("train", {{key, value}}), checkpoint("checkpoint");
    TrainConfig::read(train, checkpoint);
  });
}

TEST(TrainConfig, RefusesBadValuesByName) {
  const std::pair<const char*, const char*> bad[] = {{"lanes", "6"},      {"lanes", "0"},          {"steps", "-1"},     {"batch_sequences", "0"},
                                                     {"grad_clip", "-1"}, {"learning_rate", "x"},  {"schedule", "sin"}, {"beta1", "1"},
                                                     {"seed", "-4"},      {"warmup_steps", "1.5"}, {"adam_eps", "nan"}};
  for (const auto& [key, value] : bad) {
    const std::string message = config_error(key, value);
    EXPECT_TRUE(test::contains(message, std::string("train.") + key + " = " + value)) << message;
  }
}

// Two classes by the usual formula, three by hand.
TEST(MatthewsCorrelation, OfTables) {
  const double tp = 6, tn = 3, fp = 1, fn = 2;
  const std::vector<i64> two = {3, 1, 2, 6};  // true label by guess
  EXPECT_NEAR(matthews_correlation(two), (tp * tn - fp * fn) / std::sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)), 1e-12);
  EXPECT_NEAR(matthews_correlation(std::vector<i64>{4, 0, 0, 0, 5, 0, 0, 0, 6}), 1, 1e-12);
  // 6 of 9 right; true 3,3,3; guesses 4,3,2: (6*9 - (3*4+3*3+3*2)) / sqrt((81-29)(81-27))
  EXPECT_NEAR(matthews_correlation(std::vector<i64>{2, 1, 0, 1, 2, 0, 1, 0, 2}), (6 * 9 - 27) / std::sqrt(52.0 * 54.0), 1e-12);
  EXPECT_EQ(matthews_correlation(std::vector<i64>{5, 0, 3, 0}), 0) << "one side constant";
}

}  // namespace
}  // namespace pleiad::train
