// trace.json: whole after every write, continued and cut back, and no reason for a run to end.
#include "pleiad/io/trace_record.hpp"

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

using Json = nlohmann::json;

class Trace : public test::TemporaryFolder {
 protected:
  Json read() const {
    std::ifstream in(path_);
    return Json::parse(in);
  }
  std::vector<Json> events() const {
    std::vector<Json> all;
    for (const Json& j : read()) {
      if (j["ph"] == "X") all.push_back(j);
    }
    return all;
  }
  TraceRecord open(i64 ranks, std::optional<i64> resumed, i64 most_bytes = i64{1} << 20) {
    return {path_, ranks, {"here", "there"}, resumed, [this](const std::string& line) { complaints_.push_back(line); }, most_bytes};
  }
  static train::StepRecord step(i64 number) {
    train::StepRecord r;
    r.step = number;
    const i64 begin = 1'700'000'000'000'000'000 + 1'000'000 * number;
    r.trace = train::StepTrace{{{0, train::StepTrace::k_whole_step, -1, begin, begin + 3001},
                                {0, static_cast<i64>(Phase::embed), -1, begin + 1, begin + 1001},
                                {1, static_cast<i64>(Phase::expert), 2, begin - 500, begin + 1}}};
    return r;
  }
  std::string names() const {
    std::string all;
    for (const Json& e : events()) all += e["name"].get<std::string>() + " ";
    return all;
  }

  const std::string path_ = at("trace.json");
  std::vector<std::string> complaints_;
};

TEST_F(Trace, IsWholeAfterEveryStep) {
  TraceRecord trace = open(2, {});
  EXPECT_TRUE(events().empty());
  trace.on_step({});
  EXPECT_TRUE(events().empty()) << "a step that was not traced";
  trace.on_step(step(2));
  const std::vector<Json> two = events();
  ASSERT_EQ(two.size(), 3u);
  EXPECT_EQ(two[0]["name"], "step 2");
  EXPECT_EQ(two[0]["ts"], 0.0);
  EXPECT_EQ(two[0]["dur"], 3.001);
  EXPECT_EQ(two[1]["name"], "embed");
  EXPECT_FALSE(two[1]["args"].contains("layer"));
  EXPECT_EQ(two[2]["pid"], 1);
  EXPECT_EQ(two[2]["ts"], -0.5) << "the clock of another host";
  EXPECT_EQ(two[2]["args"]["layer"], 2);
  trace.on_step(step(3));
  EXPECT_EQ(events().size(), 6u);
  EXPECT_EQ(events()[3]["ts"], 1000.0);
  std::map<i64, std::string> ranks;
  for (const Json& j : read()) {
    if (j["name"] == "process_name") ranks[j["pid"].get<i64>()] = j["args"]["name"].get<std::string>();
  }
  EXPECT_EQ(ranks, (std::map<i64, std::string>{{0, "rank 0 (here)"}, {1, "rank 1 (there)"}}));
  EXPECT_TRUE(complaints_.empty());
}

TEST_F(Trace, ForgetsLaterStepsWhenARunIsResumedAndKeepsItsTime) {
  {
    TraceRecord trace = open(2, {});
    for (i64 s = 2; s <= 6; s += 2) trace.on_step(step(s));
  }
  TraceRecord trace = open(1, 5);
  EXPECT_EQ(names(), "step 2 embed expert step 4 embed expert ");
  trace.on_step(step(7));
  EXPECT_EQ(names(), "step 2 embed expert step 4 embed expert step 7 embed expert ");
  EXPECT_EQ(events().back()["ts"], 5000.0 - 0.5) << "since the first part";
}

TEST_F(Trace, MendsAFileThatAKillHasTorn) {
  open(1, {}).on_step(step(2));
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 20);
  open(1, 2).on_step(step(3));
  EXPECT_EQ(names(), "step 2 embed step 3 embed expert ");
  text_file("trace.json", "no trace at all");
  open(1, 2).on_step(step(3));
  EXPECT_EQ(names(), "step 3 embed expert ");
}

TEST_F(Trace, StopsWhenItIsLongEnough) {
  TraceRecord trace = open(1, {}, 500);
  for (i64 s = 1; s < 9; ++s) trace.on_step(step(s));
  EXPECT_LT(events().size(), 9u);
  ASSERT_EQ(complaints_.size(), 1u);
  EXPECT_MENTIONS(complaints_[0], "trace.json: is long enough");
}

TEST_F(Trace, ThatCannotBeWrittenIsToldOnceAndEndsNothing) {
  std::filesystem::create_directories(at("trace.json/in_the_way"));
  TraceRecord trace = open(1, {});
  for (i64 s = 1; s < 4; ++s) trace.on_step(step(s));
  ASSERT_EQ(complaints_.size(), 1u);
  EXPECT_MENTIONS(complaints_[0], "trace.json: cannot be written");
}

}  // namespace
}  // namespace pleiad::io
