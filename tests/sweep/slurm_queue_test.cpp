// Programs that are run, what is remembered of submitted jobs, and what squeue says about them. With a real SLURM: tests/cli/slurm.sh.
#include "pleiad/sweep/slurm_queue.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::sweep {
namespace {

using test::problem_of;

TEST(RunProgram, OutputAndCode) {
  const Outcome good = run_program({"sh", "-c", "echo out; echo err >&2; cat; exit 3"});
  EXPECT_EQ(good.code, 3);
  EXPECT_EQ(good.out, "out\n");
  EXPECT_EQ(good.err, "err\n");
  EXPECT_EQ(run_program({"no-such-program-at-all"}).code, 127);
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}).code, 137);
  // More than a pipe holds, on both.
  EXPECT_EQ(run_program({"sh", "-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"}).out.size(), 300000u);
}

TEST(RunProgram, EnvironmentOfTheStart) {
  ASSERT_EQ(setenv("PLEIAD_TEST_SET_LATER", "1", 1), 0);
  EXPECT_EQ(run_program({"sh", "-c", "echo ${PLEIAD_TEST_SET_LATER:-none}"}).out, "none\n");
  EXPECT_NE(run_program({"sh", "-c", "echo $PATH"}).out, "\n");
}

class SlurmJobs : public test::TemporaryFolder {};

TEST_F(SlurmJobs, Remembered) {
  EXPECT_EQ(next_submission_folder(folder_), folder_ + "/slurm/1");
  EXPECT_TRUE(read_all_jobs(folder_).empty());
  for (const char* n : {"2", "10", "notes"}) std::filesystem::create_directories(at("slurm/" + std::string(n)));
  EXPECT_EQ(next_submission_folder(folder_), folder_ + "/slurm/11");
  write_jobs(at("slurm/10"), {{{"70", {"c"}}}, ""});
  write_jobs(at("slurm/2"), {{{"7", {"a", "b"}}, {"8", {"x"}}}, "9"});
  const std::vector<SubmittedJobs> all = read_all_jobs(folder_);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].arrays[0].points, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(all[0].arrays[1].job, "8");
  EXPECT_EQ(all[0].collect, "9");
  EXPECT_EQ(all[1].arrays[0].job, "70");
  text_file("slurm/2/jobs.json", "{");
  EXPECT_MENTIONS(problem_of([&] { read_all_jobs(folder_); }), "slurm/2/jobs.json: is damaged");
}

TEST_F(SlurmJobs, NeverSubmittedSoSqueueIsNotAsked) {
  io::SweepIndex index;
  index.folder = folder_;
  index.points = {{"a", {}, {}, {}, {}, 1, 1, {}}};
  const std::vector<PointStatus> status = point_statuses(index);
  ASSERT_EQ(status.size(), 1u);
  EXPECT_EQ(status[0].state, State::waiting);
  EXPECT_EQ(status[0].job, "");
}

TEST(SlurmQueue, WhatSqueueSays) {
  const std::vector<SubmittedJobs> jobs{{{{"7", {"a", "b", "c"}}}, "8"}, {{{"20", {"b"}}}, "21"}};
  const std::map<std::string, QueuedPoint> queued =
      queued_points(jobs, "7|0|RUNNING|None\n8|N/A|PENDING|Dependency\n99|1|RUNNING|None\n20|0|PENDING|Job's account | not permitted\n7|17|RUNNING|None\nnonsense\n");
  ASSERT_EQ(queued.size(), 2u);
  EXPECT_EQ(queued.at("a").element, "7_0");
  EXPECT_EQ(queued.at("a").state, "RUNNING");
  EXPECT_EQ(queued.at("a").reason, "");
  EXPECT_EQ(queued.at("b").element, "20_0");
  EXPECT_EQ(queued.at("b").reason, "Job's account | not permitted");
}

}  // namespace
}  // namespace pleiad::sweep
