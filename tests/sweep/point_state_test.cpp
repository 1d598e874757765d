// How a point is doing, from the files of its folder.
#include "pleiad/sweep/point_state.hpp"

#include <unistd.h>

#include <ctime>

#include "pleiad/io/checksum.hpp"
#include "pleiad/io/live_status.hpp"
#include "pleiad/io/run_marker.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::sweep {
namespace {

class PointStateTest : public test::TemporaryFolder {
 protected:
  PointStateTest() {
    index_.folder = folder_;
    point_.name = "the-point";
    point_.identity = "one";
    point_.config_sum = io::sha256("[model]\n");
    std::filesystem::create_directories(at("points/the-point/checkpoints"));
    text_file("points/the-point/point.ini", "[model]\n");
  }
  PointStatus status(const std::map<std::string, std::string>& queue = {}) const { return point_status(index_, point_, queue); }
  void attempts(const std::string& text) const { text_file("points/the-point/attempts.txt", text); }
  std::string run() const { return at("points/the-point"); }
  void finish(const std::string& identity = "one") const {
    text_file("points/the-point/run.h5", "record");
    text_file("points/the-point/checkpoints/step-0000000010.h5", "weights");
    io::write_marker(run(), identity, 10, 2);
  }

  io::SweepIndex index_;
  io::SweepPoint point_;
};

TEST_F(PointStateTest, NothingThereIsWaiting) { EXPECT_EQ(status().state, State::waiting); }

TEST_F(PointStateTest, OnlyAVerifiedMarkerIsFinished) {
  text_file("points/the-point/run.h5", "record");
  EXPECT_EQ(status().state, State::waiting);
  text_file("points/the-point/finished.json", "");
  EXPECT_EQ(status().state, State::damaged);
  text_file("points/the-point/finished.json", "{}");
  EXPECT_EQ(status().state, State::damaged);
  finish();
  EXPECT_EQ(status().state, State::finished);
}

TEST_F(PointStateTest, AMarkerOfAnotherConfigurationIsNone) {
  finish("two");
  const PointStatus s = status();
  EXPECT_EQ(s.state, State::damaged);
  EXPECT_MENTIONS(s.note, "of another configuration");
}

TEST_F(PointStateTest, FilesThatChangedAfterTheEndAreNoticed) {
  finish();
  text_file("points/the-point/run.h5", "rEcord");
  EXPECT_MENTIONS(status().note, "changed or damaged");
  text_file("points/the-point/run.h5", "rec");
  EXPECT_MENTIONS(status().note, "has 3 bytes, 6 when the run finished");
  finish();
  std::filesystem::remove(run() + "/checkpoints/step-0000000010.h5");
  EXPECT_MENTIONS(status().note, "step-0000000010.h5 is missing");
  text_file("points/the-point/finished.json", R"({"format":"pleiad-finished/1","identity":"one","step":1,"files":[{"name":"../../x","bytes":1}]})");
  EXPECT_MENTIONS(status().note, "names the file ../../x");
}

TEST_F(PointStateTest, AChangedConfigurationIsNoticedWhateverElseIsThere) {
  finish();
  text_file("points/the-point/point.ini", "[moe]\n");
  EXPECT_EQ(status().state, State::damaged);
  EXPECT_TRUE(status().config_changed);
}

TEST_F(PointStateTest, AttemptsTellHowItEnded) {
  text_file("points/the-point/output.txt", "step 1\npleiad: moe.k = 9: must be less\n-----\nmpirun noticed\n\n");
  attempts("start 100 host=n1 ranks=2 process=1\nend 130 code=2\n");
  PointStatus s = status();
  EXPECT_EQ(s.state, State::failed);
  EXPECT_EQ(s.note, "exit code 2: pleiad: moe.k = 9: must be less");
  EXPECT_EQ(s.seconds, 30);
  attempts("start 100 host=n1 ranks=2 process=1\nend 130 code=2\nstart 200 host=n1 ranks=2 process=1\nend 210 code=75\n");
  s = status();
  EXPECT_EQ(s.state, State::stopped);
  EXPECT_EQ(s.attempts, 2);
  attempts("start 100 host=elsewhere ranks=2 slurm=7_1\n");  // long ago, no end, no sign of life
  EXPECT_EQ(status().state, State::stopped);
  EXPECT_EQ(status({{"7_1", "RUNNING"}}).state, State::running);
  EXPECT_EQ(status({{"7_1", "RUNNING"}}).job, "7_1");
  attempts(fmt::format("start {} host=elsewhere ranks=2\n", std::time(nullptr)));
  EXPECT_EQ(status().state, State::running);
}

TEST_F(PointStateTest, SignsOfLife) {
  const double now = static_cast<double>(std::time(nullptr));
  attempts(fmt::format("start {} host=elsewhere ranks=2\n", std::time(nullptr) - 1000));
  io::LiveStatus live;
  live.step = 5;
  live.steps = 10;
  live.loss = 2.5;
  live.seconds_per_step = 3;
  live.time = now - 5;
  io::write_live_status(run(), live);
  const PointStatus s = status();
  EXPECT_EQ(s.state, State::running);
  EXPECT_EQ(s.step, 5);
  EXPECT_EQ(s.loss, 2.5);
  EXPECT_EQ(s.eta_seconds, 15);
  live.time = now - 500;  // longer than a minute and ten steps ago
  io::write_live_status(run(), live);
  EXPECT_EQ(status().state, State::stopped);
  live.seconds_per_step = 100;  // slow, not dead
  io::write_live_status(run(), live);
  EXPECT_EQ(status().state, State::running);
}

TEST_F(PointStateTest, AProcessOfThisMachineIsLookedAt) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  // This process lives, but it does not work on this point: the number is another's by now.
  attempts(fmt::format("start {} host={} ranks=2 process={}\n", std::time(nullptr), host, getpid()));
  EXPECT_EQ(status().state, State::stopped);
}

TEST_F(PointStateTest, NotesAreReadBack) {
  note_start(run(), 3, 1);
  note_end(run(), 5);
  EXPECT_EQ(status().state, State::failed);
  EXPECT_EQ(status().note, "exit code 5");
  EXPECT_EQ(status().attempts, 1);
}

}  // namespace
}  // namespace pleiad::sweep
