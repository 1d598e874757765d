// Points: names, seeds, ranks, and the key a constraint solves for. The resolver here is arithmetic instead of a model.
#include "pleiad/sweep/plan.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "pleiad/core/error.hpp"
#include "pleiad/io/checksum.hpp"
#include "support/problem.hpp"

namespace pleiad::sweep {
namespace {

/// flops = 1000 + k (7 width + 3), parameters = 500 + experts (5 width + 1).
class Arithmetic : public Resolver {
 public:
  Resolved resolve(const std::vector<Setting>& settings, i64 ranks, std::optional<double> mean_k) override {
    ++calls;
    std::map<std::string, std::string> o = {{"moe.expert_width", "32"}, {"moe.experts", "8"}, {"moe.k", "1"}, {"train.seed", "1"}, {"moe.router", "topk"}};
    for (const Setting& s : settings) o[s.key] = s.value;
    if (o["moe.k"] == "9") user_error("moe.k = 9: too many");
    const double width = std::stod(o["moe.expert_width"]), experts = std::stod(o["moe.experts"]);
    const double k = o["moe.router"] == "topp" ? mean_k.value_or(0) : std::stod(o["moe.k"]);
    Resolved r;
    for (const auto& [key, value] : o) r.config += key + "=" + value + "\n";
    r.options = o;
    r.identity = io::sha256(r.config);
    r.knows_k = o["moe.router"] != "topp" || mean_k;
    r.flops_per_token = 1000 + k * (7 * width + 3);
    r.total_parameters = 500 + experts * (5 * width + 1);
    r.active_parameters = 500 + k * (5 * width + 1);
    r.training_flops = static_cast<double>(ranks) * r.flops_per_token;
    return r;
  }
  i64 calls = 0;
};

Definition read(std::vector<Entry> entries) {
  entries.insert(entries.begin(), {"sweep", "base", "b.ini"});
  return Definition::read(entries, "s.ini");
}

TEST(SweepPlan, EachSeedOfEachCombinationIsAPoint) {
  Arithmetic resolver;
  const Plan plan = make_plan(read({{"sweep", "repeats", "3"}, {"grid", "moe.k", "1 | 2"}, {"grid", "ranks", "1 | 4"}}), resolver);
  ASSERT_EQ(plan.index.points.size(), 12u);
  ASSERT_EQ(plan.configs.size(), 12u);
  std::set<std::string> names;
  for (const io::SweepPoint& p : plan.index.points) names.insert(p.name);
  EXPECT_EQ(names.size(), 12u);
  const io::SweepPoint& p = plan.index.points[4];
  EXPECT_EQ(p.settings, (std::map<std::string, std::string>{{"moe.k", "1"}, {"ranks", "4"}}));
  EXPECT_EQ(p.seed, 2);
  EXPECT_EQ(p.ranks, 4);
  EXPECT_TRUE(p.name.starts_with("k-1_ranks-4_seed-2_")) << p.name;
  EXPECT_NE(plan.configs[4].find("train.seed=2"), std::string::npos);
  // The same options on other numbers of ranks: the same identity, other points.
  EXPECT_EQ(p.identity, plan.index.points[1].identity);
  EXPECT_NE(p.id, plan.index.points[1].id);
}

TEST(SweepPlan, NamesStandForTheContent) {
  Arithmetic resolver;
  const Definition d = read({{"set", "moe.experts", "16"}, {"grid", "moe.k", "1 | 2"}}), same = read({{"grid", "moe.k", "2 | 1"}, {"set", "moe.experts", "16"}}),
                   other = read({{"set", "moe.experts", "17"}, {"grid", "moe.k", "1 | 2"}});
  EXPECT_EQ(make_plan(d, resolver).index.points[0].name, make_plan(same, resolver).index.points[1].name);
  EXPECT_NE(make_plan(d, resolver).index.points[0].name, make_plan(other, resolver).index.points[0].name);
  const std::string odd = make_plan(read({{"grid", "data.prompt", "../../etc /x"}}), resolver).index.points[0].name;
  EXPECT_EQ(odd.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"), std::string::npos) << odd;
}

TEST(SweepPlan, SolvesForTheWidthThatKeepsTheQuantity) {
  for (const char* quantity : {"flops_per_token", "total_parameters", "active_parameters"}) {
    Arithmetic resolver;
    const Plan plan = make_plan(read({{"grid", "moe.k", "1 | 2 | 4"}, {"grid", "moe.experts", "4 | 8 | 16"}, {"equal", "quantity", quantity}, {"equal", "to", "5e4"}}), resolver);
    for (const io::SweepPoint& p : plan.index.points) {
      EXPECT_NEAR(p.sizes.at(quantity), 5e4, 0.5 * 5 * 16) << quantity << " " << p.name;
      EXPECT_TRUE(p.settings.count("moe.expert_width"));
    }
    EXPECT_LE(resolver.calls, 9 * 16) << "straight lines need few looks";
  }
}

TEST(SweepPlan, WithoutATargetTheBaseIsTheTarget) {
  Arithmetic resolver;
  const Plan plan = make_plan(read({{"grid", "moe.k", "1 | 2"}, {"equal", "quantity", "flops_per_token"}, {"equal", "multiple_of", "2"}}), resolver);
  EXPECT_EQ(plan.index.points[0].settings.at("moe.expert_width"), "32");
  EXPECT_EQ(plan.index.points[1].settings.at("moe.expert_width"), "16");
}

TEST(SweepPlan, WhatCannotBeSolvedIsRefusedWithThePoint) {
  Arithmetic resolver;
  const auto problem = [&](std::vector<Entry> entries) { return test::problem_of([&] { make_plan(read(std::move(entries)), resolver); }); };
  const std::string far = problem({{"grid", "moe.k", "1 | 200"}, {"equal", "to", "2000"}});
  EXPECT_NE(far.find("point with moe.k = 200"), std::string::npos) << far;
  EXPECT_NE(far.find("no moe.expert_width comes within 2 %; 1 gives 3000"), std::string::npos) << far;
  const std::string unknown = problem({{"grid", "moe.router", "topk | topp"}, {"equal", "to", "2000"}});
  EXPECT_NE(unknown.find("mean_k"), std::string::npos) << unknown;
  EXPECT_EQ(problem({{"grid", "moe.router", "topk | topp"}, {"equal", "to", "2000"}, {"equal", "mean_k", "1.5"}}), "");
  const std::string word = problem({{"grid", "moe.k", "1"}, {"equal", "solve", "moe.router"}});
  EXPECT_NE(word.find("only a whole number"), std::string::npos) << word;
  const std::string none = problem({{"grid", "moe.k", "1"}, {"equal", "solve", "moe.nothing"}});
  EXPECT_NE(none.find("there is no such option"), std::string::npos) << none;
  const std::string bad = problem({{"grid", "moe.k", "1 | 9"}});
  EXPECT_NE(bad.find("point with moe.k = 9: moe.k = 9: too many"), std::string::npos) << bad;
  EXPECT_NE(problem({{"grid", "ranks", "1 | x"}}).find("ranks = x"), std::string::npos);
}

TEST(SweepPlan, ValuesThatNoRunTakesAreBoundsOfTheSearch) {
  /// experts must be at least 5, and a width a multiple of 3.
  class Picky : public Arithmetic {
   public:
    Resolved resolve(const std::vector<Setting>& settings, i64 ranks, std::optional<double> mean_k) override {
      for (const Setting& s : settings) {
        if (s.key == "moe.experts" && std::stoll(s.value) < 5) user_error("moe.experts = {}: fewer than k", s.value);
        if (s.key == "moe.expert_width" && std::stoll(s.value) % 3 != 0) user_error("moe.split = 3: must divide moe.expert_width = {}", s.value);
      }
      return Arithmetic::resolve(settings, ranks, mean_k);
    }
  } picky;
  const Plan plan = make_plan(read({{"equal", "quantity", "total_parameters"}, {"equal", "solve", "moe.experts"}, {"equal", "to", "1466"}}), picky);
  EXPECT_EQ(plan.index.points[0].settings.at("moe.experts"), "6");
  const auto width = [&](const char* to) { return std::vector<Entry>{{"equal", "quantity", "flops_per_token"}, {"equal", "to", to}, {"equal", "multiple_of", "3"}, {"grid", "moe.k", "2"}}; };
  EXPECT_EQ(make_plan(read(width("2500")), picky).index.points[0].settings.at("moe.expert_width"), "108");
  const std::string nothing = test::problem_of([&] { make_plan(read({{"equal", "solve", "moe.experts"}, {"equal", "to", "5000"}}), picky); });
  EXPECT_MENTIONS(nothing, "moe.experts: does not change flops_per_token here");
}

TEST(SweepPlan, SamplesThatRepeatAreOnePoint) {
  Arithmetic resolver;
  const Plan plan = make_plan(read({{"sweep", "samples", "50"}, {"random", "moe.k", "integer 1 3"}}), resolver);
  EXPECT_EQ(plan.index.points.size(), 3u);
}

TEST(SolveWhole, FindsTheNearestOfAnyRisingFunction) {
  for (const i64 start : {1, 5, 1000, 1'000'000}) {
    EXPECT_EQ(solve_whole([](i64 n) { return 3.0 * static_cast<double>(n) + 7; }, 100, start, 1), 31);
    EXPECT_EQ(solve_whole([](i64 n) { return static_cast<double>(n) * static_cast<double>(n); }, 1e6 + 900, start, 1), 1000);
    EXPECT_EQ(solve_whole([](i64 n) { return static_cast<double>(n) * static_cast<double>(n); }, 1e6 + 1100, start, 1), 1001);
    EXPECT_EQ(solve_whole([](i64 n) { return static_cast<double>(n / 10); }, 12, start, 1) / 10, 12);  // steps
    EXPECT_EQ(solve_whole([](i64 n) { return static_cast<double>(n); }, 100, start, 16), 96);
    EXPECT_EQ(solve_whole([](i64 n) { return static_cast<double>(n); }, 0.2, start, 1), 1);  // the least there is
    EXPECT_EQ(solve_whole([](i64 n) { return std::exp(static_cast<double>(n) / 100.0); }, std::exp(2.0), start > 1000 ? 1000 : start, 1), 200);
  }
}

}  // namespace
}  // namespace pleiad::sweep
