// Numbers of a run that need no run: learning rates, load figures, mutual information, and what section [train] refuses.
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
}

TEST(LoadFigures, OfAnUnevenLoadAreWhatTheHandFinds) {
  const LoadFigures f = load_figures(std::vector<i64>{6, 2, 0, 0}, std::vector<double>{1, 9, 5, 5});
  EXPECT_DOUBLE_EQ(f.imbalance, 3);
  EXPECT_DOUBLE_EQ(f.flops_imbalance, 18.0 / 6) << "flops 6, 18, 0, 0";
  EXPECT_NEAR(f.variation, std::sqrt(6.0) / 2, 1e-12);
  EXPECT_NEAR(f.entropy, -(0.75 * std::log(0.75) + 0.25 * std::log(0.25)) / std::log(4.0), 1e-12);
}

TEST(LoadFigures, OfOneExpertOrNoTokensAreFinite) {
  EXPECT_EQ(load_figures(std::vector<i64>{9}, std::vector<double>{3}).entropy, 1);
  const LoadFigures none = load_figures(std::vector<i64>{0, 0}, std::vector<double>{3, 3});
  EXPECT_EQ(none.imbalance, 1);
  EXPECT_EQ(none.variation, 0);
}

TEST(MutualInformation, IsZeroForIndependentAndOneForIdentical) {
  EXPECT_NEAR(normalised_mutual_information(std::vector<i64>{2, 4, 6, 3, 6, 9}, 2, 3), 0, 1e-12);
  EXPECT_NEAR(normalised_mutual_information(std::vector<i64>{5, 0, 0, 0, 0, 7, 0, 3, 0}, 3, 3), 1, 1e-12);
  // Two experts share a domain: knowing the expert tells the domain, so all of its entropy is known.
  EXPECT_NEAR(normalised_mutual_information(std::vector<i64>{4, 4, 0, 0, 0, 8}, 2, 3), 1, 1e-12);
  // One expert for two domains tells nothing.
  EXPECT_NEAR(normalised_mutual_information(std::vector<i64>{4, 4}, 2, 1), 0, 1e-12);
  EXPECT_EQ(normalised_mutual_information(std::vector<i64>{3, 4}, 1, 2), 0) << "one domain has no entropy";
  EXPECT_EQ(normalised_mutual_information(std::vector<i64>{0, 0, 0, 0}, 2, 2), 0) << "no tokens";
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

}  // namespace
}  // namespace pleiad::train
