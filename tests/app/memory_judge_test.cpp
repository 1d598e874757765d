// What is said about memory, with made-up numbers, and what is read of the system, from made-up files.
#include "pleiad/app/memory_judge.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "pleiad/train/optimizer.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::app {
namespace {

constexpr i64 k_gib = i64{1} << 30;

NodeNeed some_need() {
  NodeNeed n;
  n.host = "n17";
  n.ranks = 3;
  n.predicted = 12 * k_gib;
  n.more = 9 * k_gib;
  n.room = {10 * k_gib, "memory of the node"};
  n.rank_more = 3 * k_gib;
  n.largest = "activations";
  n.largest_bytes = 7 * k_gib;
  return n;
}

TEST(MemoryJudge, FitsOrSaysWhatWhereAndWhy) {
  NodeNeed n = some_need();
  EXPECT_EQ(refusal(n), "");
  n.room.bytes = 8 * k_gib;
  for (const char* word : {"n17", "3 ranks", "9.00 GiB", "12.00 GiB", "8.00 GiB", "memory of the node", "activations", "7.00 GiB", "train.batch_sequences", "parallel.memory_check"}) {
    EXPECT_NE(refusal(n).find(word), std::string::npos) << word << " in " << refusal(n);
  }
  n.largest = "gradients";
  EXPECT_NE(refusal(n).find("train.lanes"), std::string::npos);
}

TEST(MemoryJudge, LimitsOfARankAndOfSharedMemory) {
  NodeNeed n = some_need();
  n.rank_room = {2 * k_gib, "ulimit -v"};
  EXPECT_NE(refusal(n).find("one of 3 ranks will need 3.00 GiB more"), std::string::npos) << refusal(n);
  EXPECT_NE(refusal(n).find("ulimit -v"), std::string::npos);
  n.rank_room = {};
  n.shared_more = k_gib;
  n.shared_room = {64 << 20, "/dev/shm"};
  EXPECT_NE(refusal(n).find("64.0 MiB is available (/dev/shm)"), std::string::npos) << refusal(n);
}

TEST(MemoryJudge, DistinctRows) {
  EXPECT_EQ(distinct_rows(0, 100), 0);
  EXPECT_NEAR(distinct_rows(1e6, 10), 10, 1e-3);
  EXPECT_NEAR(distinct_rows(1000, 1e9), 1000, 1e-9);
}

TEST(MemoryJudge, ParametersAreCountedAsTheyAreKept) {
  ParamSet params;
  ParamInfo dense, expert, rows;
  dense.name = "a";
  dense.shape = {64, 32};
  expert.name = expert.family = "e";
  expert.shape = {16, 16};
  expert.owner = rows.owner = Owner::expert;
  expert.expert = expert.slot = 0;
  rows.name = rows.family = "r";
  rows.shape = {1000, 16};
  rows.own_rows = 500;
  for (const ParamInfo& p : {dense, expert, rows}) params.add(p);
  params.allocate();
  params.allocate_grads(4);
  train::Adam adam({}, params);
  const MemoryForecast m = parameter_memory(params, 4);
  const auto bytes = [](auto span) { return static_cast<i64>(span.size_bytes()); };
  EXPECT_EQ(m.weights, bytes(params.values(Owner::replicated)) + bytes(params.values(Owner::expert)));
  EXPECT_EQ(m.gradients, bytes(params.grads(Owner::replicated)) + bytes(params.grads(Owner::expert)) + 4 * 500);
  EXPECT_EQ(m.moments, 2 * (bytes(adam.first(Owner::replicated)) + bytes(adam.first(Owner::expert))) + 4 * 500);
  EXPECT_EQ(m.total(), m.weights + m.gradients + m.moments);
  const i64 row = 2 * 16 * static_cast<i64>(sizeof(real)) + 16;
  EXPECT_NEAR(static_cast<double>(row_moment_memory(params, 1e9)), static_cast<double>(500 * row), 1);
  EXPECT_EQ(packing_memory(params), 16 * 16 * static_cast<i64>(sizeof(real)));
}

class MachineRoom : public test::TemporaryFolder {
 protected:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path file = at(name);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
};

TEST_F(MachineRoom, IsTheLeastOfNodeAndControlGroups) {
  EXPECT_EQ(machine_room(at("nothing")).bytes, k_no_limit);
  write("proc/meminfo", "MemTotal: 4000 kB\nMemAvailable:    3000 kB\n");
  EXPECT_EQ(machine_room(at("")).bytes, 3000 * 1024);
  write("proc/self/cgroup", "4:memory:/a/b\n0::/job/step\n");
  EXPECT_EQ(machine_room(at("")).bytes, 3000 * 1024);
  write("sys/fs/cgroup/job/memory.max", "2000000\n");
  write("sys/fs/cgroup/job/memory.current", "500000\n");
  write("sys/fs/cgroup/job/step/memory.max", "max\n");
  write("sys/fs/cgroup/job/step/memory.current", "400000\n");
  EXPECT_EQ(machine_room(at("")).bytes, 1500000);
  EXPECT_NE(machine_room(at("")).limit.find("/job"), std::string::npos);
  write("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 100000\n");
  EXPECT_EQ(machine_room(at("")).bytes, 1600000);
  write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "1000\n");
  EXPECT_EQ(machine_room(at("")).bytes, 1600000);
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n");
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "999000\n");
  EXPECT_EQ(machine_room(at("")).bytes, 1000);
}

}  // namespace
}  // namespace pleiad::app
