// What pleiad watch draws.
#include "pleiad/app/live_view.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "support/problem.hpp"

namespace pleiad::app {
namespace {

constexpr double k_nan = std::numeric_limits<double>::quiet_NaN();

io::LiveStatus sample() {
  io::LiveStatus s;
  s.host = "node17";
  s.job = "4711";
  s.ranks = 4;
  s.step = 50;
  s.steps = 200;
  s.seconds_per_step = 2;
  s.tokens_per_second = 1234.4;
  s.loss = 3.25;
  s.learning_rate = 0.001;
  s.evaluated = 40;
  s.evaluation_loss = 3.5;
  s.above_floor = 1.25;
  s.history_step = {10, 20, 30, 40, 50};
  s.history_loss = {5, 4.5, 4, 3.5, 3.25};
  s.phase_seconds = {{"expert", 60}, {"exchange", 40}};
  s.layers = {{1, {0.5, 2, 1, 0.5}, 2, 1.75, 0.9, 1.5, 0.125}, {3, {1, 1, 1, 1}, 1, 1, 0.2, 2, 0}};
  return s;
}

i64 columns_of(const std::string& line) {  // characters, not bytes
  i64 n = 0;
  for (const char c : line) n += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return n;
}

TEST(LivePicture, ShowsWhatAPersonWantsToKnow) {
  const std::string text = picture_of(sample(), "runs/one", {.width = 100, .unicode = true, .silence = 3});
  for (const char* part : {"runs/one: running", "step 50/200 (25.0 %)", "loss 3.2500", "held-out 3.5000 at step 40", "1.2500 above the floor", "1234 tokens/s", "ETA 5:00", "4 ranks on node17",
                           "job 4711", "status 3 s old", "loss, steps 1 to 50", "    5.000 ██████", "    3.250 ", "expert 60.0 %   exchange 40.0 %", "12.5 %"}) {
    EXPECT_MENTIONS(text, part);
  }
  EXPECT_MENTIONS(text, "    1   0.50   2.00   2.00   1.75   0.90  1.50   12.5 %  ▂█▄▂");
  EXPECT_MENTIONS(text, "    3   1.00   1.00   1.00   1.00   0.20  2.00    0.0 %  ▄▄▄▄");
}

TEST(LivePicture, IsNoWiderThanTheTerminalAndPlainWhereItMustBe) {
  io::LiveStatus s = sample();
  s.layers[0].load.assign(64, 1.5);
  s.history_loss.assign(120, 2);
  s.history_step.assign(120, 1);
  for (const i64 width : {10, 40, 57, 80, 200}) {
    for (const bool unicode : {true, false}) {
      std::istringstream lines(picture_of(s, "r", {.width = width, .unicode = unicode, .silence = 0}));
      for (std::string line; std::getline(lines, line);) {
        EXPECT_LE(columns_of(line), std::max<i64>(width, 40)) << line;
        for (const char c : line) EXPECT_TRUE(unicode || (c >= ' ' && c < 127)) << line;
      }
    }
  }
}

TEST(LivePicture, BearsARunThatHasJustBegunOrHasNoExpertsOrDiverged) {
  io::LiveStatus s;
  s.loss = k_nan;
  EXPECT_MENTIONS(picture_of(s, "r", {}), "step 0/0 (100.0 %)");
  EXPECT_MENTIONS(picture_of(s, "r", {}), "ETA -");
  s = sample();
  s.layers.clear();
  EXPECT_EQ(picture_of(s, "r", {}).find("imbal."), std::string::npos);
  s.history_loss = {5, k_nan, 4};
  s.history_step = {1, 2, 3};
  s.loss = k_nan;
  EXPECT_MENTIONS(picture_of(s, "r", {}), "loss -");
  s.history_loss = {k_nan, k_nan, k_nan};
  EXPECT_EQ(picture_of(s, "r", {}).find("loss, steps"), std::string::npos);
}

TEST(LivePicture, LetsNoControlCharactersThrough) {
  io::LiveStatus s = sample();
  s.host = "\033[31mred";
  EXPECT_EQ(picture_of(s, "a\nb", {}).find('\033'), std::string::npos);
}

TEST(Silence, IsOnlyThatWhichIsLongForARunOfSuchSteps) {
  io::LiveStatus s = sample();
  EXPECT_FALSE(is_silent(s, 29));
  EXPECT_TRUE(is_silent(s, 31));
  EXPECT_MENTIONS(picture_of(s, "r", {.silence = 95}), "no sign of life for 1:35");
  EXPECT_MENTIONS(line_of(s, {.silence = 95}), "no sign of life for 1:35");
  s.seconds_per_step = 60;
  EXPECT_FALSE(is_silent(s, 200));
  EXPECT_TRUE(is_silent(s, 301));
  s.state = "finished";
  EXPECT_FALSE(is_silent(s, 1e6));
  EXPECT_EQ(picture_of(s, "r", {}).find("ETA"), std::string::npos);
}

TEST(LiveLine, SaysItInOne) { EXPECT_EQ(line_of(sample(), {}), "running step 50/200  loss 3.2500  held-out 3.5000  imbalance 2.00  1234 tokens/s  ETA 5:00"); }

TEST(Curve, GoesFromTheLargestToTheSmallest) {
  EXPECT_EQ(curve({3, 2, 1}, 10, 1, true), (std::vector<std::string>{"█▅▁"}));
  EXPECT_EQ(curve({3, 2, 1}, 10, 2, true), (std::vector<std::string>{"█▁ ", "██▁"}));
  EXPECT_EQ(curve({3, k_nan, 1}, 10, 1, false), (std::vector<std::string>{"# ."}));
  EXPECT_EQ(curve({2, 4, 1, 1}, 2, 1, true), (std::vector<std::string>{"█▁"})) << "means of two";
  EXPECT_EQ(curve({7, 7}, 10, 1, true), (std::vector<std::string>{"▅▅"})) << "a flat one";
}

TEST(Bars, AreFullAtFullAndShowWhatIsLittle) {
  EXPECT_EQ(bars({0, 0.001, 1, 2, 9}, 2, 10, true), " ▁▄██");
  EXPECT_EQ(bars({1, 1, 3, 3}, 4, 2, true), "▂▆");
  EXPECT_EQ(bars({}, 2, 10, true), "");
}

}  // namespace
}  // namespace pleiad::app
