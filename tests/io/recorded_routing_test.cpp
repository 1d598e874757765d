// What a prediction takes from routing.h5.
#include "pleiad/io/recorded_routing.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "pleiad/core/error.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/routing_record.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

/// Two steps of two sequences of two tokens, one layer of three experts.
struct Content {
  std::vector<i64> step = {10, 20}, first = {0, 5};
  std::vector<std::int32_t> count = {2, 1, 1, 1, 1, 0, 2, 1}, expert = {0, 1, 2, 0, 1, 2, 1, 0, 0};
  std::vector<std::uint8_t> kept = {1, 1, 0, 1, 1, 1, 1, 0, 1};
  i64 sequences = 2, seq_len = 2, experts = 3;
  std::string format = k_routing_format;
};

class RecordedRoutingTest : public test::TemporaryFolder {
 protected:
  std::string write(const std::function<void(Content&)>& change = [](Content&) {}) const {
    Content c;
    change(c);
    H5File file = H5File::create(at("routing.h5"));
    file.set_attribute("/", "format", c.format);
    file.set_attribute("/", "sequences", c.sequences);
    file.set_attribute("/", "seq_len", c.seq_len);
    file.set_attribute("/", "experts", c.experts);
    const auto size = [](const auto& v) { return Shape{static_cast<i64>(v.size())}; };
    file.write<i64>("/step", c.step, size(c.step));
    const i64 steps = static_cast<i64>(c.first.size());
    file.write<std::int32_t>("/layers/1/count", c.count, {steps, steps == 0 ? 0 : static_cast<i64>(c.count.size()) / steps});
    file.write<i64>("/layers/1/first", c.first, size(c.first));
    file.write<std::int32_t>("/layers/1/expert", c.expert, size(c.expert));
    file.write<std::uint8_t>("/layers/1/kept", c.kept, size(c.kept));
    return at("routing.h5");
  }
  std::string complaint(const std::function<void(Content&)>& change) const {
    try {
      read_recorded_routing(write(change), 100);
    } catch (const UserError& e) {
      return e.what();
    }
    return "none";
  }
};

TEST_F(RecordedRoutingTest, HasTheKeptEntriesOfAllSteps) {
  const sim::Recording r = read_recorded_routing(write(), 100);
  EXPECT_EQ(r.sequences, 4);
  EXPECT_EQ(r.seq_len, 2);
  EXPECT_EQ(r.experts, 3);
  ASSERT_EQ(r.layers.size(), 1u);
  EXPECT_EQ(r.layers[0].offset, (std::vector<i64>{0, 2, 2, 3, 4, 5, 5, 6, 7}));
  EXPECT_EQ(r.layers[0].expert, (std::vector<std::int32_t>{0, 1, 0, 1, 2, 1, 0}));
  EXPECT_TRUE(r.what.ends_with("4 sequences of steps 10 to 20")) << r.what;
}

TEST_F(RecordedRoutingTest, IsOfTheLastStepsWhereThereIsRoomForFew) {
  const sim::Recording r = read_recorded_routing(write(), 3);
  EXPECT_EQ(r.sequences, 2);
  EXPECT_EQ(r.layers[0].offset, (std::vector<i64>{0, 1, 1, 2, 3}));
  EXPECT_EQ(r.layers[0].expert, (std::vector<std::int32_t>{2, 1, 0}));
  EXPECT_EQ(read_recorded_routing(at("routing.h5"), 0).sequences, 2);  // one step in any case
}

TEST_F(RecordedRoutingTest, IsRefusedWhereItIsDamaged) {
  const std::vector<std::pair<std::string, std::function<void(Content&)>>> table = {
      {"is damaged: /layers/1 names an expert that there is not", [](Content& c) { c.expert[4] = 3; }},
      {"is damaged: /layers/1 names an expert that there is not", [](Content& c) { c.expert[4] = -1; }},
      {"is damaged: /layers/1 counts fewer than no entries", [](Content& c) { c.count[2] = -1; }},
      {"is damaged: /layers/1 counts more entries than there are", [](Content& c) { c.count[7] = 9; }},
      {"is damaged: /layers/1 counts more entries than there are", [](Content& c) { c.kept.pop_back(); }},
      {"is damaged: /layers/1 counts more entries than there are", [](Content& c) { c.first[0] = -1; }},
      {"is damaged: /layers/1 has another number of steps or tokens", [](Content& c) { c.step.push_back(30); }},
      {"is damaged: /layers/1 has another number of steps or tokens", [](Content& c) { c.seq_len = 3; }},
      {"is damaged: 0 sequences of 2 tokens", [](Content& c) { c.sequences = 0; }},
      {"is damaged: 2 sequences of 4611686018427387904 tokens", [](Content& c) { c.seq_len = i64{1} << 62; }},
      {"no step is recorded", [](Content& c) { c.step.clear(); }},
      {"pleiad-run/1", [](Content& c) { c.format = "pleiad-run/1"; }},
  };
  for (const auto& [says, change] : table) EXPECT_NE(complaint(change).find(says), std::string::npos) << complaint(change) << " instead of " << says;
}

}  // namespace
}  // namespace pleiad::io
