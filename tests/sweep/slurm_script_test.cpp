// What stands in batch scripts. That SLURM understands them is tests/cli/slurm.sh.
#include "pleiad/sweep/slurm_script.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::sweep {
namespace {

using test::problem_of;

std::string file_text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string problem_with(const std::function<void(SlurmOptions&)>& change) {
  SlurmOptions options;
  change(options);
  return problem_of([&] { check_slurm_options(options); });
}

std::string placement_problem(SlurmOptions options, i64 ranks) {
  return problem_of([&] { place_ranks(options, ranks); });
}

const Submission k_submission{"widths", "/data/it's a sweep/ü%d", "/data/it's a sweep/ü%d/slurm/1", "/opt/pleiad 1/bin/pleiad"};
const ArrayJob k_job{"4", 4, {"a-000000000001", "b-000000000002", "c-000000000003"}};

TEST(SlurmScript, BodyOfTheTrainScriptIsTheBodyOfAll) {
  const std::string train = file_text(PLEIAD_SOURCE_DIR "/slurm/train.sbatch");
  const std::string body = file_text(PLEIAD_SOURCE_DIR "/slurm/job.sh");
  ASSERT_GT(body.size(), 1000u);
  EXPECT_EQ(body, k_job_script);
  EXPECT_TRUE(train.ends_with("\n\n" + body)) << "slurm/train.sbatch must end with the text of slurm/job.sh";
}

TEST(SlurmScript, Defaults) {
  const std::string script = array_script({}, k_submission, k_job);
  for (const char* line : {"#!/bin/bash\n", "\n#SBATCH --job-name=sweep-widths\n", "\n#SBATCH --array=0-2\n", "\n#SBATCH --ntasks=4\n", "\n#SBATCH --cpus-per-task=1\n",
                           "\n#SBATCH --signal=B:USR1@120\n", "\n#SBATCH --requeue\n", "\n#SBATCH --open-mode=append\n", "\nlauncher=srun\n", "\nmpi=pmix\n", "\nbinding=cores\n", "\nrequeue=yes\n", "\nscratch=\n"}) {
    EXPECT_MENTIONS(script, line);
  }
  for (const char* absent : {"--nodes", "--time", "--partition", "--account", "--mem=", "--exclusive"}) EXPECT_EQ(script.find(std::string("#SBATCH ") + absent), std::string::npos) << absent;
  EXPECT_TRUE(script.ends_with(k_job_script));
}

TEST(SlurmScript, PassesOnWhatTheSiteWants) {
  SlurmOptions o;
  o.partition = "long", o.account = "moe", o.qos = "normal", o.constraint = "[zen2|zen3]", o.reservation = "r1", o.mem = "4G", o.time = "2-00:00", o.signal = 300;
  o.exclusive = true, o.requeue = false, o.throttle = 8, o.launcher = "mpirun", o.binding = "numa", o.ranks_per_numa = 1, o.numa_per_node = 2, o.cpus_per_rank = 3;
  o.sbatch = {"--gres=lustre:1", "--comment=two words"};
  o.setup = {"module load openmpi", "export FLAG='a b'"};
  o.scratch = "$SLURM_TMPDIR/my $(touch \"x\")";
  check_slurm_options(o);
  const std::string script = array_script(o, k_submission, k_job);
  for (const char* line : {"--partition=long", "--account=moe", "--qos=normal", "--constraint=[zen2|zen3]", "--reservation=r1", "--mem=4G", "--time=2-00:00", "--signal=B:USR1@300",
                           "--exclusive", "--no-requeue", "--array=0-2%8", "--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=3", "--gres=lustre:1", "--comment=\"two words\""}) {
    EXPECT_MENTIONS(script, std::string("\n#SBATCH ") + line + "\n");
  }
  for (const char* line : {"module load openmpi", "export FLAG='a b'", "launcher=mpirun", "ranks_per_numa=1", "cpus_per_rank=3", "binding=numa", "requeue=no",
                           R"x(scratch="$SLURM_TMPDIR/my \$(touch \"x\")")x"}) {
    EXPECT_MENTIONS(script, std::string("\n") + line + "\n");
  }
}

TEST(SlurmScript, NoSignalIfNotWanted) {
  SlurmOptions o;
  o.signal = 0;
  EXPECT_EQ(array_script(o, k_submission, k_job).find("\n#SBATCH --signal"), std::string::npos);
}

class SlurmScriptFile : public test::TemporaryFolder {};

// The shell reads back what was quoted: the head up to the body is run, then prints what it has set.
TEST_F(SlurmScriptFile, AnyPathSurvivesTheShell) {
  Submission s{"n", folder_ + "/it's \"a\" $HOME sweep\\ü%d", "", "/opt/a b/pleiad"};
  s.folder = s.sweep + "/slurm/1";
  std::filesystem::create_directories(s.folder);
  std::ofstream(s.folder + "/" + k_job.points_file()) << points_text(k_job);
  std::string head = array_script({}, s, k_job);
  head.resize(head.size() - std::string(k_job_script).size());
  const std::string script = at("head.sh"), out = at("out.txt");
  std::ofstream(script) << head << "printf '%s\\n' \"$run\" \"${command[@]}\"\n";
  ASSERT_EQ(std::system(fmt::format("SLURM_ARRAY_TASK_ID=1 bash -eu {} > {}", script, out).c_str()), 0);
  const std::string run = s.sweep + "/points/b-000000000002";
  EXPECT_MENTIONS(file_text(out), run + "\n/opt/a b/pleiad\ntrain\n");
  // In a file name of sbatch a percent sign stands twice, and its parser takes away one backslash of two.
  EXPECT_MENTIONS(head, "it's \\\"a\\\" $HOME sweep\\\\ü%%d/slurm/1/array-4-%a.out\"\n");
}

TEST(SlurmScript, CollectingJob) {
  SlurmOptions o;
  o.partition = "long", o.setup = {"module load openmpi"}, o.throttle = 3;
  const std::string script = collect_script(o, k_submission);
  for (const char* line : {"\n#SBATCH --ntasks=1\n", "\n#SBATCH --partition=long\n", "\nmodule load openmpi\n", "\nexec \"/opt/pleiad 1/bin/pleiad\" sweep collect \"/data/it's a sweep/ü%d\"\n",
                           "ü%%d/slurm/1/collect.out\"\n"}) {
    EXPECT_MENTIONS(script, line);
  }
  EXPECT_EQ(script.find("--array"), std::string::npos);
}

TEST(SlurmScript, Placement) {
  SlurmOptions o;
  EXPECT_EQ(place_ranks(o, 6).nodes, 0);
  o.ranks_per_node = 4;
  EXPECT_EQ(place_ranks(o, 8).nodes, 2);
  EXPECT_EQ(place_ranks(o, 2).nodes, 1);
  EXPECT_EQ(place_ranks(o, 2).ranks_per_node, 2);
  EXPECT_MENTIONS(placement_problem(o, 6), "--ranks-per-node 4: the sweep has points with 6 ranks");
  o.nodes = 2;
  EXPECT_EQ(place_ranks(o, 8).ranks_per_node, 4);
  EXPECT_MENTIONS(placement_problem(o, 4), "--ranks-per-node 4 on --nodes 2: makes 8 ranks");
  o.ranks_per_node = 0;
  EXPECT_EQ(place_ranks(o, 6).ranks_per_node, 3);
  EXPECT_MENTIONS(placement_problem(o, 5), "--nodes 2: the sweep has points with 5 ranks");
  SlurmOptions numa;
  numa.ranks_per_numa = 2, numa.numa_per_node = 2;
  EXPECT_EQ(place_ranks(numa, 8).nodes, 2);
  EXPECT_MENTIONS(placement_problem(numa, 2), "= 4: the sweep has points with 2 ranks");
}

TEST(SlurmScript, ArraysByRanksAndSize) {
  const std::vector<ArrayJob> jobs = arrays_of({"a", "b", "c", "d", "e"}, {2, 1, 2, 2, 2}, 3);
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[0].script_file(), "array-1.sbatch");
  EXPECT_EQ(jobs[0].points, std::vector<std::string>{"b"});
  EXPECT_EQ(jobs[1].points_file(), "points-2-1.txt");
  EXPECT_EQ(points_text(jobs[1]), "a\nc\nd\n");
  EXPECT_EQ(jobs[2].name, "2-2");
  EXPECT_EQ(jobs[2].points, std::vector<std::string>{"e"});
  EXPECT_TRUE(arrays_of({}, {}, 3).empty());
}

TEST(SlurmScript, RefusesWhatMakesNoSense) {
  EXPECT_EQ(problem_with([](SlurmOptions&) {}), "");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.launcher = "aprun"; }), "--launcher aprun: must be one of srun, mpirun");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.binding = "core"; }), "--binding core: must be one of none, cores, numa");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.mpi = "pmix; rm"; }), "--mpi 'pmix; rm'");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.mpi = "pmi2", o.launcher = "mpirun"; }), "--mpi pmi2: is for --launcher srun");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.numa_per_node = 2; }), "--numa-per-node 2: only goes with --ranks-per-numa");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.ranks_per_numa = 2; }), "also needs --numa-per-node");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.ranks_per_numa = 2, o.numa_per_node = 2, o.ranks_per_node = 8; }), "leave it out");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.ranks_per_numa = 3, o.ranks_per_node = 8; }), "must be a multiple of --ranks-per-numa 3");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.cpus_per_rank = 0; }), "--cpus-per-rank 0: must be between 1");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.throttle = -1; }), "--throttle -1");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.sbatch = {"-t 5"}; }), "--sbatch -t 5: must be a long option");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.sbatch = {"--gres gpu:1"}; }), "--name or --name=value");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.sbatch = {"--array=1-3"}; }), "is set by");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.sbatch = {"--gres=x\n--array=1"}; }), "line break");
  EXPECT_MENTIONS(problem_with([](SlurmOptions& o) { o.partition = "a\nrm"; }), "line break");
}

TEST(SlurmScript, TimeLimits) {
  const auto problem = [](const std::string& time, i64 signal) { return problem_with([&](SlurmOptions& o) { o.time = time, o.signal = signal; }); };
  for (const char* good : {"5", "5:30", "01:00:00", "1-0", "1-12:30", "1-12:30:00"}) EXPECT_EQ(problem(good, 120), "") << good;
  for (const char* bad : {"1h", "1:2:3:4", "-5", "soon", "1-", " 5"}) EXPECT_MENTIONS(problem(bad, 120), "--time " + std::string(bad)) << bad;
  EXPECT_MENTIONS(problem("2", 120), "--signal 120: must be less than the 120 seconds of --time 2");
  EXPECT_EQ(problem("2", 119), "");
  EXPECT_EQ(problem("0:30", 29), "");
}

}  // namespace
}  // namespace pleiad::sweep
