// What train --match takes from the record of another run.
#include "pleiad/app/match.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/h5.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::app {
namespace {

class MatchTest : public test::TemporaryFolder {
 protected:
  /// A record of two evaluations with these FLOPs, [2, 2, 4] histogram or none.
  void write(const std::string& moe, const std::vector<double>& flops, const std::vector<i64>& histogram = {}) const {
    io::H5File file = io::H5File::create(at("run.h5"));
    file.set_attribute("/", "format", "pleiad-run/1");
    file.write_text("/config", "[model]\nvocab = 300\nwidth = 8\nlayers = 3\nheads = 2\n[moe]\n" + moe, "configuration");
    file.write<double>("/evaluation/expert_flops_per_token", flops, {static_cast<i64>(flops.size())}, {"flop/token", "flops"});
    if (!histogram.empty()) file.write<i64>("/evaluation/k_histogram", histogram, {2, 2, 4}, {"token", "tokens with 0, 1, ... experts"});
  }
};

TEST_F(MatchTest, MeanKCountsExpertsOfTheControlInTheLastEvaluation) {
  write("", {1, 2 * 192 * 1.25});
  const Match match = read_match(folder_);
  EXPECT_DOUBLE_EQ(match.expert_flops_per_token, 2 * 192 * 1.25);
  EXPECT_EQ(read_match(at("run.h5")).expert_flops_per_token, match.expert_flops_per_token);
  EXPECT_EQ(match.k_histogram, "");
  const auto mean_k = [&](const std::string& moe) {
    return matched_mean_k(match, Config::parse("[model]\nvocab = 300\nwidth = 8\nlayers = 3\nheads = 2\n[moe]\n" + moe, "control"));
  };
  // Two layers, mean width 6, two matrices: 2 * 2 * 6 * 8 = 192 flops for one expert.
  EXPECT_DOUBLE_EQ(mean_k("layers = 0,2\nexperts = 3\nexpert_widths = 4,6,8\n"), 1.25);
  EXPECT_DOUBLE_EQ(mean_k("layers = 0,2\nexperts = 3\nexpert_width = 3\n"), 2.5);
  EXPECT_DOUBLE_EQ(mean_k("layers = 0,2\nexperts = 3\nexpert_width = 6\nactivation = swiglu\n"), 1.25 * 2 / 3);
  EXPECT_DOUBLE_EQ(mean_k("layers = 1\nexperts = 3\nexpert_width = 6\n"), 2.5);
}

TEST_F(MatchTest, HistogramIsTheLastEvaluationOverAllLayersFromOneExpertOn) {
  write("experts = 3\nexpert_width = 6\n", {1, 1}, {9, 9, 9, 9, 9, 9, 9, 9, 1, 5, 2, 0, 0, 6, 1, 0});
  EXPECT_EQ(read_match(folder_).k_histogram, "11,3");
}

TEST_F(MatchTest, WhatCannotBeMatchedIsRefused) {
  EXPECT_THROW(read_match(folder_), UserError) << "no record";
  write("preset = dense\n", {0});
  EXPECT_THROW(read_match(folder_), UserError) << "no experts";
  write("experts = 3\n", {});
  EXPECT_THROW(read_match(folder_), UserError) << "no evaluation";
}

}  // namespace
}  // namespace pleiad::app
