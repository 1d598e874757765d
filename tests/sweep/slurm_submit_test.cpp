// Which points are submitted, and the files that takes. The submission itself: tests/cli/slurm.sh.
#include "pleiad/sweep/slurm_submit.hpp"

#include <gtest/gtest.h>

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::sweep {
namespace {

using test::problem_of;

class SlurmSubmit : public test::TemporaryFolder {
 protected:
  SlurmSubmit() {
    index_.name = "widths";
    index_.folder = folder_ + "/";
    const i64 ranks[] = {1, 2, 2, 2, 1, 2};
    for (int i = 0; i < 6; ++i) {
      io::SweepPoint p;
      p.name = "p" + std::to_string(i);
      p.ranks = ranks[i];
      index_.points.push_back(p);
      status_.emplace_back();
    }
  }
  SubmitPlan plan(const SlurmOptions& options = {}, i64 max_array_size = 1001) const { return plan_submission(index_, status_, options, "/bin/pleiad", max_array_size); }

  io::SweepIndex index_;
  std::vector<PointStatus> status_;
};

std::vector<std::string> names_of(const SubmitPlan& plan) {
  std::vector<std::string> names;
  for (const SubmitPlan::File& f : plan.files) names.push_back(f.name);
  return names;
}

TEST_F(SlurmSubmit, AnArrayForEachNumberOfRanks) {
  const SubmitPlan p = plan();
  EXPECT_EQ(p.common.sweep, folder_);
  EXPECT_EQ(p.common.folder, folder_ + "/slurm/1");
  ASSERT_EQ(p.arrays.size(), 2u);
  EXPECT_EQ(p.arrays[0].points, (std::vector<std::string>{"p0", "p4"}));
  EXPECT_EQ(p.arrays[1].points, (std::vector<std::string>{"p1", "p2", "p3", "p5"}));
  EXPECT_EQ(names_of(p), (std::vector<std::string>{"points-1.txt", "array-1.sbatch", "points-2.txt", "array-2.sbatch", "collect.sbatch"}));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/slurm"));
}

TEST_F(SlurmSubmit, NoArrayIsLongerThanAllowed) { EXPECT_EQ(plan({}, 3).arrays.size(), 3u); }

TEST_F(SlurmSubmit, LeavesOutWhatNeedsNoJob) {
  status_[0].state = State::finished;
  status_[1].state = State::running;
  status_[2].state = State::waiting, status_[2].job = "12_0";  // in the queue
  status_[3].state = State::damaged;
  status_[4].state = State::failed;
  status_[5].state = State::stopped;
  const SubmitPlan p = plan();
  EXPECT_EQ(p.finished, 1);
  EXPECT_EQ(p.queued, 2);
  EXPECT_EQ(p.damaged, 1);
  ASSERT_EQ(p.arrays.size(), 2u);
  EXPECT_EQ(p.arrays[0].points, std::vector<std::string>{"p4"});
  EXPECT_EQ(p.arrays[1].points, std::vector<std::string>{"p5"});
}

TEST_F(SlurmSubmit, NothingToDo) {
  for (PointStatus& s : status_) s.state = State::finished;
  const SubmitPlan p = plan();
  EXPECT_TRUE(p.arrays.empty());
  EXPECT_TRUE(p.files.empty());
}

TEST_F(SlurmSubmit, RefusesChangedPointsAndBadOptions) {
  SlurmOptions nodes;
  nodes.nodes = 2;
  EXPECT_MENTIONS(problem_of([&] { plan(nodes); }), "--nodes 2: the sweep has points with 1 rank, which");
  status_[2].config_changed = true;
  EXPECT_MENTIONS(problem_of([&] { plan(); }), "/points/p2/point.ini: was changed");
}

}  // namespace
}  // namespace pleiad::sweep
