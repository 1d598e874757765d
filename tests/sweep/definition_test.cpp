// Sweep files: what they mean, and what is refused.
#include "pleiad/sweep/definition.hpp"

#include <gtest/gtest.h>

#include <set>

#include "support/problem.hpp"

namespace pleiad::sweep {
namespace {

const std::vector<Entry> k_base = {{"sweep", "base", "base.ini"}};

Definition read(std::vector<Entry> more) {
  more.insert(more.begin(), k_base.begin(), k_base.end());
  return Definition::read(more, "s.ini");
}

std::vector<std::string> in_one_line(const Definition& d) {
  std::vector<std::string> all;
  for (i64 number = 0; number < d.combinations(); ++number) {
    const std::vector<Setting> point = d.combination(number);
    std::string line;
    for (const Setting& s : point) line += s.key + "=" + s.value + ";";
    all.push_back(line);
  }
  return all;
}

TEST(SweepDefinition, AGridIsEveryCombinationTheLastKeyFastest) {
  const Definition d = read({{"grid", "moe.experts", "4 | 8"}, {"grid", "moe.k", "1|2|3"}});
  EXPECT_EQ(in_one_line(d), (std::vector<std::string>{"moe.experts=4;moe.k=1;", "moe.experts=4;moe.k=2;", "moe.experts=4;moe.k=3;", "moe.experts=8;moe.k=1;",
                                                      "moe.experts=8;moe.k=2;", "moe.experts=8;moe.k=3;"}));
  EXPECT_EQ(d.keys(), (std::vector<std::string>{"moe.experts", "moe.k"}));
}

TEST(SweepDefinition, AListGoesSideBySideAndMultipliesTheGrid) {
  const Definition d = read({{"grid", "moe.k", "1 | 2"}, {"list", "moe.expert_widths", "64,128 | 32,32"}, {"list", "data.prompt", "a b | c"}});
  EXPECT_EQ(in_one_line(d), (std::vector<std::string>{"moe.k=1;moe.expert_widths=64,128;data.prompt=a b;", "moe.k=1;moe.expert_widths=32,32;data.prompt=c;",
                                                      "moe.k=2;moe.expert_widths=64,128;data.prompt=a b;", "moe.k=2;moe.expert_widths=32,32;data.prompt=c;"}));
}

TEST(SweepDefinition, ADashLeavesAKeyOut) {
  const Definition d = read({{"list", "moe.router", "topk | threshold"}, {"list", "moe.k", "2 | -"}, {"list", "moe.threshold", "- | 0.9"}});
  EXPECT_EQ(in_one_line(d), (std::vector<std::string>{"moe.router=topk;moe.k=2;", "moe.router=threshold;moe.threshold=0.9;"}));
}

TEST(SweepDefinition, WithoutAnythingToSweepThereIsOneCombination) { EXPECT_EQ(in_one_line(read({})), std::vector<std::string>{""}); }

TEST(SweepDefinition, SamplesLieInTheirRangeAndDependOnNothingElse) {
  const std::vector<Entry> axes = {{"sweep", "samples", "200"}, {"random", "train.learning_rate", "log 1e-4 1e-2"}, {"random", "moe.p", "uniform 0.25 0.75"},
                                   {"random", "moe.experts", "integer 3 5"}, {"random", "moe.router", "choice topk | topp"}};
  const Definition d = read(axes);
  std::set<std::string> experts, routers;
  i64 small = 0;
  for (i64 number = 0; number < d.combinations(); ++number) {
    const std::vector<Setting> point = d.combination(number);
    const double rate = std::stod(point[0].value), p = std::stod(point[1].value);
    EXPECT_TRUE(rate >= 1e-4 && rate <= 1e-2) << rate;
    EXPECT_TRUE(p >= 0.25 && p <= 0.75) << p;
    small += rate < 1e-3;
    experts.insert(point[2].value);
    routers.insert(point[3].value);
  }
  EXPECT_NEAR(static_cast<double>(small) / 200, 0.5, 0.12);  // half of a logarithmic range
  EXPECT_EQ(experts, (std::set<std::string>{"3", "4", "5"}));
  EXPECT_EQ(routers, (std::set<std::string>{"topk", "topp"}));
  // Another key beside it, or more samples, leave the first ones alone.
  const Definition more = read({{"sweep", "samples", "201"}, {"random", "moe.k", "integer 1 2"}, {"random", "train.learning_rate", "log 1e-4 1e-2"}});
  EXPECT_EQ(more.combination(7)[1].value, d.combination(7)[0].value);
  const Definition other = read({{"sweep", "samples", "200"}, {"sweep", "sampling_seed", "2"}, {"random", "train.learning_rate", "log 1e-4 1e-2"}});
  EXPECT_NE(other.combination(7)[0].value, d.combination(7)[0].value);
}

TEST(SweepDefinition, AHundredThousandCombinationsOfAThousandKeysAreCounted) {
  std::vector<Entry> axes = {{"sweep", "samples", "50000"}, {"random", "train.learning_rate", "log 1e-4 1e-2"}, {"list", "moe.k", "1 | 2"}};
  for (int i = 0; i < 1000; ++i) axes.push_back({"grid", fmt::format("moe.key_{}", i), "1"});
  const Definition d = read(axes);
  EXPECT_EQ(d.combinations(), 100'000);
  const std::vector<Setting> last = d.combination(99'999);
  ASSERT_EQ(last.size(), 1002u);
  EXPECT_EQ(last[1000].value, "2");
  EXPECT_EQ(last[1001].value, d.random[0].draw(1, 49'999));
}

TEST(SweepDefinition, ReadsSeedsRanksAndTheConstraint) {
  const Definition d = read({{"sweep", "seeds", "3 | 5"}, {"sweep", "ranks", "4"}, {"grid", "ranks", "1 | 2"}, {"equal", "quantity", "active_parameters"},
                             {"equal", "to", "1e6"}, {"equal", "solve", "moe.experts"}, {"equal", "multiple_of", "8"}});
  EXPECT_EQ(d.seeds, (std::vector<i64>{3, 5}));
  EXPECT_EQ(d.ranks, 4);
  ASSERT_TRUE(d.equal);
  EXPECT_EQ(d.equal->quantity, "active_parameters");
  EXPECT_EQ(d.equal->target, 1e6);
  EXPECT_EQ(d.equal->multiple_of, 8);
  EXPECT_EQ(d.keys(), (std::vector<std::string>{"ranks", "moe.experts"}));
  EXPECT_FALSE(read({{"equal", "to", "base"}}).equal->target);
}

TEST(SweepDefinition, MistakesAreNamed) {
  const auto problem = [](std::vector<Entry> entries) { return test::problem_of([&] { read(std::move(entries)); }); };
  const auto expect = [&](std::vector<Entry> entries, std::vector<std::string> words) {
    const std::string message = problem(std::move(entries));
    for (const std::string& w : words) EXPECT_MENTIONS(message, w);
  };
  expect({{"gird", "moe.k", "1"}}, {"s.ini", "[gird]", "[grid]"});
  expect({{"grid", "experts", "1"}}, {"[grid] experts", "section.key"});
  expect({{"grid", "moe.k", "1 | | 2"}}, {"[grid] moe.k = 1 | | 2", "empty value"});
  expect({{"grid", "moe.k", ""}}, {"[grid] moe.k", "empty value"});
  expect({{"grid", "moe.k", "1 | 2 | 1"}}, {"stands there twice"});
  expect({{"grid", "train.seed", "1 | 2"}}, {"train.seed", "[sweep]"});
  expect({{"list", "moe.k", "1 | 2"}, {"list", "moe.experts", "4"}}, {"[list] moe.k has 2 values and moe.experts has 1"});
  expect({{"grid", "moe.k", "1"}, {"set", "moe.k", "1"}}, {"moe.k is given in two places"});
  expect({{"grid", "moe.expert_width", "1"}, {"equal", "solve", "moe.expert_width"}}, {"moe.expert_width is given in two places"});
  expect({{"random", "moe.p", "uniform 0 1"}}, {"samples"});
  expect({{"sweep", "samples", "3"}}, {"there is no [random]"});
  expect({{"sweep", "samples", "3"}, {"random", "moe.p", "normal 0 1"}}, {"moe.p = normal 0 1", "uniform LOW HIGH"});
  expect({{"sweep", "samples", "3"}, {"random", "moe.p", "uniform 1 0"}}, {"1 is larger than 0"});
  expect({{"sweep", "samples", "3"}, {"random", "moe.p", "log 0 1"}}, {"above 0"});
  expect({{"sweep", "samples", "3"}, {"random", "moe.k", "integer 1 2.5"}}, {"whole numbers"});
  expect({{"sweep", "samples", "3"}, {"random", "moe.p", "uniform 0 x"}}, {"'x' is not a number"});
  expect({{"sweep", "seeds", "1 | 1"}}, {"a seed stands there twice"});
  expect({{"sweep", "seeds", "1"}, {"sweep", "repeats", "2"}}, {"give one of the two"});
  expect({{"sweep", "repeats", "0"}}, {"sweep.repeats = 0"});
  expect({{"sweep", "color", "red"}}, {"sweep.color = red", "unknown key"});
  expect({{"equal", "quantity", "joules"}}, {"equal.quantity = joules", "flops_per_token"});
  expect({{"equal", "solve", "width"}}, {"solve = width"});
  expect({{"sweep", "repeats", "90000"}, {"grid", "moe.k", "1 | 2"}}, {"180000 points"});
  EXPECT_NE(test::problem_of([] { Definition::read({}, "s.ini"); }).find("base is missing"), std::string::npos);
}

}  // namespace
}  // namespace pleiad::sweep
