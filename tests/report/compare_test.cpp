#include "pleiad/report/compare.hpp"

#include <gtest/gtest.h>

#include "report/sample_runs.hpp"
#include "support/problem.hpp"

namespace pleiad::report {
namespace {

Side side(std::vector<Run> runs, std::vector<std::string> keys = {}) { return {"side", std::move(runs), std::move(keys), {}}; }

TEST(Pairing, BySeed) {
  const Side a = side({sample_run("a1", 1, 2.0, {}), sample_run("a2", 2, 2.1, {}), sample_run("a3", 3, 2.2, {})});
  const Side b = side({sample_run("b2", 2, 1.9, {}), sample_run("b1", 1, 1.8, {}), sample_run("b9", 9, 1.7, {})});
  const Pairing p = pair_runs(a, b);
  ASSERT_EQ(p.pairs.size(), 2u);
  EXPECT_EQ(p.pairs[0].first->name() + p.pairs[0].second->name(), "a1b1");
  EXPECT_EQ(p.pairs[1].first->name() + p.pairs[1].second->name(), "a2b2");
  ASSERT_EQ(p.left_over.size(), 2u);
  EXPECT_MENTIONS(p.left_over[0], "a3 of A, for B has no run with seed 3");
  EXPECT_MENTIONS(p.left_over[1], "b9 of B, for A has no run with seed 9");
}

TEST(Pairing, ByKeysThatVaryOnBothSides) {
  const auto two = [](const std::string& name) {
    return side({sample_point(name + "1", 1, 2.0, {{"moe.k", "1"}}), sample_point(name + "2", 1, 2.1, {{"moe.k", "2"}})}, {"moe.k"});
  };
  const Side a = two("a"), b = two("b");
  const Pairing p = pair_runs(a, b);
  ASSERT_EQ(p.pairs.size(), 2u);
  EXPECT_EQ(p.pairs[1].second->name(), "b2");
  EXPECT_EQ(p.keys, (std::vector<std::string>{"moe.k"}));
}

TEST(Pairing, SeveralPartnersAreNoPair) {
  const Side a = side({sample_point("a", 1, 2.0, {{"moe.k", "1"}})});
  const Side b = side({sample_point("b1", 1, 2.0, {{"moe.k", "1"}}), sample_point("b2", 1, 2.1, {{"moe.k", "2"}})}, {"moe.k"});
  const Pairing p = pair_runs(a, b);
  EXPECT_TRUE(p.pairs.empty());
  ASSERT_EQ(p.left_over.size(), 1u);
  EXPECT_MENTIONS(p.left_over[0], "for B has several runs with seed 1");
}

TEST(Differences, MeansIntervalAndWhoIsBetter) {
  const Side a = side({sample_run("a1", 1, 2.00, {}), sample_run("a2", 2, 2.10, {}), sample_run("a3", 3, 2.20, {})});
  const Side b = side({sample_run("b1", 1, 1.90, {}), sample_run("b2", 2, 1.99, {}), sample_run("b3", 3, 2.08, {})});
  const Table t = difference_table(pair_runs(a, b), 0.95);
  const std::string csv = as_csv(t);
  EXPECT_MENTIONS(csv, "metric,pairs,mean_a,mean_b,difference,low,high,p\n");
  EXPECT_EQ(t.rows[0][5].shown, "-0.1100");
  EXPECT_EQ(t.rows[0][6].shown, "-0.1348 to -0.0852");  // 0.01 / sqrt(3) * 4.3027
  EXPECT_EQ(t.marks[0], "B better");
}

TEST(Differences, OnePairHasNoInterval) {
  const Side a = side({sample_run("a1", 1, 2.0, {})}), b = side({sample_run("b1", 1, 1.9, {})});
  EXPECT_EQ(difference_table(pair_runs(a, b), 0.95).rows[0][6].shown, "-");
}

TEST(Configurations, WhatDiffers) {
  const Side a = side({sample_run("a1", 1, 2.0, {{"moe.k", "1"}, {"moe.p", "x"}}), sample_run("a2", 2, 2.0, {{"moe.k", "3"}, {"moe.p", "x"}})});
  const Side b = side({sample_run("b1", 1, 2.0, {{"moe.k", "2"}})});
  const Table t = configuration_table(a, b);
  ASSERT_EQ(t.rows.size(), 2u);
  EXPECT_EQ(t.rows[0][1].shown, "1 | 3");
  EXPECT_EQ(t.rows[0][2].shown, "2");
  EXPECT_EQ(t.rows[1][2].shown, "-");
}

TEST(Selection, OfPoints) {
  using Parts = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(parse_selection("s", "moe.k=1,moe.expert_widths=64,64,128,train.seed=3"),
            (Parts{{"moe.k", "1"}, {"moe.expert_widths", "64,64,128"}, {"train.seed", "3"}}));
  EXPECT_MENTIONS(test::problem_of([] { parse_selection("sweep:k", "k"); }), "'k' is not key=value");
  EXPECT_MENTIONS(test::problem_of([] { parse_selection("sweep:=1", "=1"); }), "'=1' is not key=value");
  EXPECT_MENTIONS(test::problem_of([] { select_side("no-such-*"); }), "no-such-*: there is no run");
}

}  // namespace
}  // namespace pleiad::report
