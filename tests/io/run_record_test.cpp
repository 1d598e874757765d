// run.h5 under the eyes of readers: whoever holds it open, and whatever locks they took, its writer goes on.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pleiad/io/run_record.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

class Followed : public test::TemporaryFolder {
 protected:
  ~Followed() override {
    for (const int file : held_) ::close(file);
  }
  static train::StepRecord step(i64 number) {
    train::StepRecord r;
    r.step = number;
    r.loss.task = static_cast<double>(number);
    r.phase_seconds.assign(k_phase_count, 0.0);
    return r;
  }
  /// What the HDF5 library of a reader does when it follows the file; in this process it would share the writer's own file.
  void hold() {
    held_.push_back(::open(path_.c_str(), O_RDONLY));
    EXPECT_EQ(::flock(held_.back(), LOCK_SH | LOCK_NB), 0) << "the writer has a lock";
  }

  const std::string path_ = at("run.h5");
  const Decode none_ = [](std::span<const std::int32_t>) { return std::string(); };
  std::vector<int> held_;
};

TEST_F(Followed, ARunEndsAndIsResumedWhileReadersHoldItsRecord) {
  RunRecord record(path_, {}, none_);
  record.on_step(step(1));
  record.flush();
  hold();
  record.on_step(step(2));
  record.finish(2, {{90}, {100}});
  EXPECT_EQ(H5File::open(path_).integer("/", "finished_step"), 2);

  hold();
  RunRecord resumed(path_, {}, none_, 1);
  EXPECT_EQ(resumed.so_far().losses, (std::vector<double>{1})) << "later steps are forgotten";
  EXPECT_FALSE(resumed.so_far().evaluated.has_value());
  resumed.on_step(step(2));
  resumed.on_step(step(3));
  resumed.flush();
  hold();
  resumed.finish(3, {{90}, {100}});
  EXPECT_EQ(H5File::open(path_).read<double>("/steps/task_loss"), (std::vector<double>{1, 2, 3}));
}

TEST_F(Followed, AReaderWaitsForTheMomentsInWhichItsWriterIsAlone) {
  { RunRecord(path_, {}, none_).finish(0, {{0}, {0}}); }
  const pid_t child = ::fork();
  if (child == 0) {
    H5File alone = H5File::open_append(path_);
    ::usleep(30000);
    alone.close();
    ::_exit(0);
  }
  ::usleep(15000);
  EXPECT_NO_THROW(H5File::open(path_).integer("/", "finished_step"));
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace pleiad::io
