#include "pleiad/report/collection.hpp"

#include <gtest/gtest.h>

#include "pleiad/report/tables.hpp"
#include "report/sample_runs.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::report {
namespace {

Collection grouped(std::vector<Run> runs, const std::vector<std::string>& keys = {}, std::vector<std::string> sweeps = {}) {
  Collection c;
  c.runs = std::move(runs);
  c.sweeps = std::move(sweeps);
  group(c, keys);
  return c;
}

TEST(Grouping, RunsThatDifferInTheirSeedAreOneConfiguration) {
  const Collection c = grouped(
      {sample_run("a-seed2", 2, 2.0, {{"moe.k", "1"}}), sample_run("b", 1, 2.1, {{"moe.k", "2"}}), sample_run("a-seed1", 1, 2.2, {{"moe.k", "1"}})});
  ASSERT_EQ(c.configurations.size(), 2u);
  EXPECT_EQ(c.configurations[0].label, "a");
  EXPECT_EQ(c.configurations[0].runs, (std::vector<std::size_t>{2, 0}));  // seeds ascending
  EXPECT_EQ(c.configurations[1].label, "b");
  EXPECT_TRUE(c.has_configurations());
}

TEST(Grouping, DifferentRunsStayRuns) {
  const Collection c = grouped({sample_run("a", 1, 2.0, {{"moe.k", "1"}}), sample_run("b", 1, 2.1, {{"moe.k", "2"}})});
  EXPECT_FALSE(c.has_configurations());
}

TEST(Grouping, ASeedAgainIsNoOtherSample) {
  const Collection c = grouped({sample_run("a", 1, 2.0, {}), sample_run("copy", 1, 2.0, {}), sample_run("c", 2, 2.1, {})});
  ASSERT_EQ(c.configurations.size(), 2u);
  EXPECT_EQ(c.configurations[0].runs, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(c.configurations[1].runs, (std::vector<std::size_t>{1}));
}

TEST(Grouping, SweepsAreLabelledByWhatVaries) {
  const Collection c = grouped({sample_point("p", 1, 2.0, {{"moe.k", "1"}, {"train.steps", "10"}, {"model.k", "7"}}),
                                sample_point("q", 1, 2.0, {{"moe.k", "2"}, {"train.steps", "10"}, {"model.k", "8"}})},
                               {"moe.k", "train.steps", "model.k"}, {"s"});
  EXPECT_EQ(c.keys, (std::vector<std::string>{"moe.k", "model.k"}));
  EXPECT_EQ(c.configurations[0].label, "moe.k=1 model.k=7");  // the section stays where it is needed
  EXPECT_EQ(c.configurations[1].values, (std::vector<std::string>{"2", "8"}));
  EXPECT_TRUE(c.has_configurations());
}

TEST(Grouping, OfSeveralSweepsTheTableSaysWhatTheirBasesHave) {
  report::Run a = sample_point("p", 1, 2.0, {{"moe.k", "1"}}), b = sample_point("q", 1, 2.0, {{"moe.threshold", "0.5"}});
  b.sweep = 1;
  a.config = {{"moe.router", "topk"}, {"moe.k", "1"}};
  b.config = {{"moe.router", "threshold"}, {"moe.threshold", "0.5"}};
  const Collection c = grouped({a, b}, {"moe.k", "moe.threshold"}, {"s", "t"});
  EXPECT_EQ(c.keys, (std::vector<std::string>{"moe.router", "moe.k", "moe.threshold"}));
  EXPECT_EQ(c.configurations[0].values, (std::vector<std::string>{"topk", "1", ""}));
  EXPECT_EQ(c.configurations[1].values, (std::vector<std::string>{"threshold", "", "0.5"}));
  b.config["moe.k"] = "4";  // not swept there, and yet it has one
  EXPECT_EQ(grouped({a, b}, {"moe.k"}, {"s", "t"}).configurations[1].values, (std::vector<std::string>{"threshold", "4"}));
}

TEST(Grouping, RowsOfSeveralSweepsDoNotReadTheSame) {
  report::Run a = sample_point("p", 1, 2.0, {{"moe.experts", "4"}}), b = sample_point("q", 1, 2.0, {{"moe.experts", "4"}});
  b.sweep = 1;
  a.config = {{"moe.router", "topk"}, {"moe.k", "2"}, {"moe.experts", "4"}};
  b.config = {{"moe.router", "topk"}, {"moe.k", "1"}, {"moe.experts", "4"}};
  const Collection c = grouped({a, b}, {"moe.experts"}, {"s", "t"});
  EXPECT_EQ(c.keys, std::vector<std::string>{"moe.k"});
  EXPECT_EQ(c.configurations[0].values, std::vector<std::string>{"2"});
  EXPECT_EQ(c.configurations[1].values, std::vector<std::string>{"1"});
}

TEST(Grouping, ResultsOfAPointMayDifferFromItsSettings) {
  // A control that is matched to another run has values of its own for each seed.
  report::Run a = sample_point("p", 1, 2.0, {{"moe.k", "1"}}), b = sample_point("q", 2, 2.0, {{"moe.k", "1"}});
  a.config["moe.mean_k"] = "1.1";
  b.config["moe.mean_k"] = "1.2";
  EXPECT_EQ(grouped({a, b}, {"moe.k"}, {"s"}).configurations.size(), 1u);
}

TEST(Keys, DifferingAndShort) {
  const report::Run a = sample_run("a", 1, 2, {{"moe.k", "1"}, {"moe.p", "0.4"}}), b = sample_run("b", 2, 2, {{"moe.k", "1"}});
  EXPECT_EQ(differing_keys({&a, &b}), (std::vector<std::string>{"moe.p"}));
  EXPECT_EQ(short_keys({"moe.k", "train.steps"}), (std::vector<std::string>{"k", "steps"}));
}

TEST(Config, IsRead) {
  const auto config = parse_config("[moe]\n# how many\nk = 2\nwidths = 1,2\n\n[data]\ncorpus = a=b.h5\nprompt = \n");
  EXPECT_EQ(config.at("moe.k"), "2");
  EXPECT_EQ(config.at("moe.widths"), "1,2");
  EXPECT_EQ(config.at("data.corpus"), "a=b.h5");
  EXPECT_EQ(config.at("data.prompt"), "");
}

TEST(Collection, ControlsMatchedToRunsOfOneConfigurationAreOne) {
  std::vector<report::Run> runs = {sample_run("control-1", 1, 2.0, {{"moe.mean_k", "2.1"}}), sample_run("control-2", 2, 2.1, {{"moe.mean_k", "2.3"}})};
  EXPECT_EQ(grouped(runs, {}, {}).configurations.size(), 2u);
  for (report::Run& run : runs) run.matched_to = "other-" + fmt::format("{}", run.seed);
  const Collection c = grouped(runs, {}, {});
  ASSERT_EQ(c.configurations.size(), 1u);
  EXPECT_EQ(c.configurations[0].label, "control");
}

Collection two_by_two(double second) {
  return grouped({sample_point("a1", 1, 2.00, {{"moe.k", "1"}}), sample_point("a2", 2, 2.02, {{"moe.k", "1"}}),
                  sample_point("b1", 1, 2.00 + second, {{"moe.k", "2"}}), sample_point("b2", 2, 2.021 + second, {{"moe.k", "2"}})},
                 {"moe.k"}, {"s"});
}

TEST(Verdict, SaysWhatTheSpreadAllows) {
  EXPECT_MENTIONS(verdict(two_by_two(0.5), 0.95), "best: k=1, loss 2.0100 ± 0.0141 nat (2 seeds); second: k=2");
  EXPECT_MENTIONS(verdict(two_by_two(0.5), 0.95), "over 2 pairs of seeds: separable");
  EXPECT_MENTIONS(verdict(two_by_two(0.001), 0.95), "not separable");
  EXPECT_EQ(verdict(two_by_two(0.5), 0.95).find("of the other"), std::string::npos) << "there are no others";
}

TEST(Verdict, NeedsTheSameData) {
  Collection c = two_by_two(0.5);
  c.runs[0].config["data.corpus"] = "other.h5";
  EXPECT_MENTIONS(verdict(c, 0.95), "not all measured on the same data");
}

TEST(Verdict, OneSeedHasNoInterval) {
  const Collection c = grouped({sample_point("a", 1, 2.0, {{"moe.k", "1"}}), sample_point("b", 1, 2.1, {{"moe.k", "2"}})}, {"moe.k"}, {"s"});
  EXPECT_MENTIONS(verdict(c, 0.95), "difference 0.1000 nat, without an interval");
}

TEST(Verdict, SeedsThatDivergedAreSaid) {
  Collection c = two_by_two(0.5);
  c.runs[1].summary.loss.reset();
  EXPECT_MENTIONS(verdict(c, 0.95), "loss 2.0000 nat (1 of 2 seeds)");
  EXPECT_MENTIONS(as_text(table_of_configurations(c)), "1 of 2");
}

TEST(Verdict, NobodyWinsByLookingAhead) {
  Collection c = two_by_two(0.5);
  c.runs[0].summary.looks_ahead = c.runs[1].summary.looks_ahead = true;
  EXPECT_EQ(verdict(c, 0.95), "");
  EXPECT_MENTIONS(as_text(table_of_configurations(c)), "looks at later tokens");
}

TEST(Tables, OneRowPerConfiguration) {
  const Table t = table_of_configurations(two_by_two(0.5));
  const std::string text = as_text(t), csv = as_csv(t);
  EXPECT_MENTIONS(text, "2.0100 ± 0.0141");
  EXPECT_MENTIONS(text, "best");
  EXPECT_MENTIONS(csv, "moe.k,seeds,loss_nats,loss_nats_deviation,");
  EXPECT_MENTIONS(csv, "\n1,2,2.01");
}

class Paths : public test::TemporaryFolder {};

TEST_F(Paths, WrongOnesAreNamed) {
  EXPECT_MENTIONS(test::problem_of([&] { collect({at("none")}); }), "none");
  EXPECT_MENTIONS(test::problem_of([&] { collect({folder_}); }), "neither a run");
  text_file("sweep.json", "{}");
  EXPECT_MENTIONS(test::problem_of([&] { collect({folder_}); }), "sweep.json: is damaged");
  text_file("sweep.json", R"({"format":"pleiad-sweep-index/1","name":"s","definition":"","config":"","keys":[],"points":[
    {"name":"p1","identity":"","id":"x","config_sum":"","settings":{},"seed":1,"ranks":1,"sizes":{}}]})");
  EXPECT_MENTIONS(test::problem_of([&] { collect({folder_}); }), "0 of 1 points reported; 1 without a record (p1)");
}

}  // namespace
}  // namespace pleiad::report
