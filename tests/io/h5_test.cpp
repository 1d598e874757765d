// HDF5 files of one process: what is written comes back, damaged files are told apart, a dead writer's file goes on.
#include "pleiad/io/h5.hpp"

#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>

namespace pleiad::io {
namespace {

namespace fs = std::filesystem;
using test::problem_of;
using H5Test = test::TemporaryFolder;

template <class T>
std::span<const T> view(const std::vector<T>& v) {
  return v;
}

TEST_F(H5Test, ADamagedGroupIsListedOrRefused) {
  {
    H5File f = H5File::create(at("a.h5"), true);
    for (int i = 0; i < 40; ++i) {  // a table of so many does not fit what malloc keeps at hand, whose content M_PERTURB leaves alone
      f.write(fmt::format("/group/number_{}", i), view(std::vector<float>{7}), {});
      f.set_attribute("/group", fmt::format("attribute_{}", i), i64{i});
    }
    f.close();
  }
  EXPECT_EQ(H5File::open(at("a.h5")).list("/group")[1], "number_1");
  EXPECT_EQ(H5File::open(at("a.h5")).attributes("/group")[2], "attribute_10");
  // What is freed without ever being set is then found out.
  mallopt(M_PERTURB, 0x5a);
  std::fstream file(at("a.h5"), std::ios::in | std::ios::out | std::ios::binary);
  const auto flip = [&](i64 at) {
    file.seekg(at);
    const char changed = static_cast<char>(file.get() ^ 4);
    file.seekp(at);
    file.put(changed).flush();
  };
  int refused = 0;
  for (i64 byte = 0; byte < static_cast<i64>(fs::file_size(at("a.h5"))); byte += 3) {
    flip(byte);
    const std::string problem = problem_of([&] {
      const H5File f = H5File::open(at("a.h5"));
      f.list("/group");
      f.attributes("/group");
    });
    flip(byte);
    refused += !problem.empty();
  }
  mallopt(M_PERTURB, 0);
  EXPECT_GT(refused, 100);
}

TEST_F(H5Test, NumbersComeBackInEveryType) {
  const std::vector<double> d{1.5, -2, 1e300};
  const std::vector<i64> n{1, -5, i64{1} << 40};
  {
    H5File f = H5File::create(at("a.h5"));
    f.write("/deep/er/d", view(d), {3}, {.units = "nats", .description = "three numbers"});
    f.write("/deep/n", view(n), {3, 1});
    f.write("/deep/packed", view(std::vector<float>(100000, 0.5f)), {1000, 100}, {.deflate = 4});
    f.write("/scalar", view(std::vector<float>{7}), {});
    f.write("/empty", view(std::vector<std::uint8_t>{}), {0, 4});
    f.close();
  }
  EXPECT_LT(fs::file_size(at("a.h5")), 20000u);
  const H5File f = H5File::open(at("a.h5"));
  EXPECT_EQ(f.read<double>("/deep/er/d"), d);
  EXPECT_EQ(f.read<i64>("/deep/n", Shape{3, 1}), n);
  EXPECT_EQ(f.read<double>("/deep/n")[1], -5.0);
  EXPECT_EQ(f.read<double>("/deep/packed").size(), 100000u);
  EXPECT_EQ(f.read<double>("/scalar"), std::vector<double>{7});
  EXPECT_TRUE(f.read<i64>("/empty").empty());
  EXPECT_EQ(f.shape("/empty"), (Shape{0, 4}));
  EXPECT_TRUE(f.shape("/scalar").empty());
  EXPECT_EQ(f.list(), (std::vector<std::string>{"deep", "empty", "scalar"}));
  EXPECT_TRUE(f.is_group("/deep/er"));
  EXPECT_FALSE(f.is_group("/deep/n"));
  EXPECT_TRUE(f.exists("/"));
  EXPECT_TRUE(f.exists("deep/er/d"));
  EXPECT_FALSE(f.exists("/deep/no/d"));
  EXPECT_EQ(f.type_name("/deep/packed"), "float32");
  EXPECT_EQ(f.text("/deep/er/d", "units"), "nats");
  EXPECT_EQ(f.text("/deep/er/d", "description"), "three numbers");
}

TEST_F(H5Test, WhatDoesNotFitIsRefused) {
  H5File f = H5File::create(at("a.h5"));
  f.write("/d", view(std::vector<double>{1, 2}), {2});
  f.write("/n", view(std::vector<i64>{1, i64{1} << 40}), {2});
  f.write_text("/t", "words", "a text");
  EXPECT_MENTIONS(problem_of([&] { f.read<float>("/none"); }), "'/none' of");
  EXPECT_MENTIONS(problem_of([&] { f.read<float>("/d", Shape{3}); }), "has shape [2]; [3] is needed");
  EXPECT_MENTIONS(problem_of([&] { f.read<i64>("/d"); }), "holds float64; integers are needed");
  EXPECT_MENTIONS(problem_of([&] { f.read<float>("/t"); }), "holds string; numbers are needed");
  EXPECT_MENTIONS(problem_of([&] { f.read_text("/d"); }), "holds float64; text is needed");
  EXPECT_NE(problem_of([&] { f.read<std::int32_t>("/n"); }), "");  // 2^40 is not an int32
  EXPECT_MENTIONS(problem_of([&] { f.write("/d", view(std::vector<double>{1}), {1}); }), "already exists");
  EXPECT_MENTIONS(problem_of([&] { f.list("/d"); }), "cannot list '/d'");
}

TEST_F(H5Test, AbsurdExtentsAreRefusedBeforeAllocation) {
  H5File f = H5File::create(at("a.h5"));
  f.create_dataset("/huge", ElementType::float64, {i64{1} << 40, i64{1} << 20}, {.chunk_rows = 1});
  f.create_dataset("/large", ElementType::float32, {i64{1} << 36}, {.deflate = 1});
  f.create_dataset("/nothing", ElementType::float32, {i64{1} << 36, 0});
  EXPECT_MENTIONS(problem_of([&] { f.shape("/nothing"); }), "claims shape [68719476736, 0]");
  EXPECT_MENTIONS(problem_of([&] { f.read<double>("/huge"); }), "more than a file of");
  EXPECT_MENTIONS(problem_of([&] { f.read<float>("/large"); }), "claims shape [68719476736]");
}

TEST_F(H5Test, MoreChunksThanAFileCanHoldAreRefused) {
  H5File f = H5File::create(at("a.h5"));
  const i64 rows = i64{1} << 15;
  std::vector<std::uint8_t> row(64), all(static_cast<std::size_t>(rows / 2) * 64);
  f.create_dataset("/some", ElementType::uint8, {rows / 2, 64}, {.chunk_rows = 1});
  f.read_rows<std::uint8_t>("/some", {{0, rows / 2}}, all);  // never written: no file holds less
  f.create_dataset("/many", ElementType::uint8, {rows, 64}, {.chunk_rows = 1});
  f.write_rows<std::uint8_t>("/many", {{5, 1}}, row);  // who writes says what there will be
  EXPECT_MENTIONS(problem_of([&] { f.read<std::uint8_t>("/many"); }), "claims shape [32768, 64] in chunks of [1, 64], more than a file of");
  EXPECT_MENTIONS(problem_of([&] { f.read_rows<std::uint8_t>("/many", {{5, 1}}, row); }), "in chunks of [1, 64], more than");
}

TEST_F(H5Test, RowsComeAndGoInRanges) {
  H5File f = H5File::create(at("a.h5"));
  f.create_dataset("/x", ElementType::int32, {10, 3}, {.deflate = 1});
  std::vector<std::int32_t> all(30);
  for (std::int32_t i = 0; i < 30; ++i) all[static_cast<std::size_t>(i)] = i;
  f.write_rows("/x", {{0, 10}}, view(all));
  std::vector<std::int32_t> some(12);
  f.read_rows<std::int32_t>("/x", {{1, 1}, {2, 0}, {4, 1}, {7, 1}, {9, 1}}, some);  // irregular, one empty
  EXPECT_EQ(some, (std::vector<std::int32_t>{3, 4, 5, 12, 13, 14, 21, 22, 23, 27, 28, 29}));
  f.read_rows<std::int32_t>("/x", {{0, 1}, {3, 1}, {6, 1}, {9, 1}}, some);  // regular
  EXPECT_EQ(some, (std::vector<std::int32_t>{0, 1, 2, 9, 10, 11, 18, 19, 20, 27, 28, 29}));
  f.read_rows<std::int32_t>("/x", {}, std::span<std::int32_t>());
  EXPECT_MENTIONS(problem_of([&] { f.read_rows<std::int32_t>("/x", {{8, 4}}, some); }), "has 10 rows; rows 8 to 11");
  EXPECT_THROW(f.read_rows<std::int32_t>("/x", {{3, 2}, {4, 2}}, some), LogicError);
}

TEST_F(H5Test, AttributesAndTexts) {
  H5File f = H5File::create(at("a.h5"));
  f.set_attribute("/", "format", "old");
  f.set_attribute("/", "format", "pleiad-test/1");
  f.set_attribute("/", "k", 2);
  f.set_attribute("/", "p", 0.5);
  f.set_attribute("/", "empty", "");
  f.write_texts("/names", {"one", "", "three\xC3\xA9"}, "names");
  f.write_text("/config", "[moe]\nk = 2\n", "configuration");
  EXPECT_EQ(f.text("/", "format"), "pleiad-test/1");
  EXPECT_EQ(f.integer("/", "k"), 2);
  EXPECT_EQ(f.number("/", "k"), 2.0);
  EXPECT_EQ(f.number("/", "p"), 0.5);
  EXPECT_EQ(f.text("/", "empty"), "");
  EXPECT_EQ(f.attribute_in_words("/", "p"), "0.5");
  EXPECT_EQ(f.attributes("/"), (std::vector<std::string>{"empty", "format", "k", "p"}));
  EXPECT_EQ(f.read_texts("/names"), (std::vector<std::string>{"one", "", "three\xC3\xA9"}));
  EXPECT_EQ(f.read_text("/config"), "[moe]\nk = 2\n");
  EXPECT_MENTIONS(problem_of([&] { f.integer("/", "p"); }), "attribute 'p' of '/'");
  EXPECT_MENTIONS(problem_of([&] { f.integer("/", "none"); }), "is missing");
  EXPECT_MENTIONS(problem_of([&] { f.text("/", "k"); }), "is int64; text is needed");
  f.require_format("pleiad-test/1");
  EXPECT_MENTIONS(problem_of([&] { f.require_format("pleiad-run/1"); }),
                  "has format 'pleiad-test/1'; format 'pleiad-run/1' is needed");
}

TEST_F(H5Test, BadFilesAreToldApart) {
  EXPECT_MENTIONS(problem_of([&] { H5File::open(at("none.h5")); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { H5File::open(folder_); }), "it is a folder");
  std::ofstream(at("text.h5")) << "not HDF5 at all\n";
  EXPECT_MENTIONS(problem_of([&] { H5File::open(at("text.h5")); }), "is not an HDF5 file");
  std::ofstream(at("empty.h5")) << "";
  EXPECT_MENTIONS(problem_of([&] { H5File::open(at("empty.h5")); }), "(0 bytes) is not an HDF5 file");
  {
    H5File f = H5File::create(at("short.h5"));
    f.write("/d", view(std::vector<double>(10000, 1.0)), {10000});
  }
  EXPECT_MENTIONS(problem_of([&] { H5File::open(at("short.h5")).require_format("pleiad-run/1"); }),
                  "without a 'format' attribute");
  fs::resize_file(at("short.h5"), 30000);
  EXPECT_MENTIONS(problem_of([&] { H5File::open(at("short.h5")); }), "truncated file");
  EXPECT_MENTIONS(problem_of([&] { H5File::open_append(at("short.h5")); }), "truncated file");
  EXPECT_EQ(fs::file_size(at("short.h5")), 30000u);  // untouched
  EXPECT_MENTIONS(problem_of([&] { H5File::create(at("no/such/folder.h5")); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { H5File::create(folder_); }), "Is a directory");
}

// A writer whose last numbers the system refused leaves a first block that tells of more than there is.
TEST_F(H5Test, AFileWhoseWriterFoundNoRoomIsReadUpToThere) {
  {
    H5File f = H5File::create(at("run.h5"), true);
    H5Series s(f, "/loss", ElementType::float64, {}, {.units = "nats", .description = "loss"});
    f.start_swmr();
    s.append(view(std::vector<double>(300, 1.0)));
    f.flush();
    fs::copy_file(at("run.h5"), at("early.h5"));
    s.append(view(std::vector<double>(3000, 2.0)));
    f.flush();
    fs::copy_file(at("run.h5"), at("late.h5"));
  }
  // Of the late one only the first block came to be written.
  std::ifstream late(at("late.h5"), std::ios::binary);
  std::vector<char> block(48);
  late.read(block.data(), 48);
  std::fstream early(at("early.h5"), std::ios::binary | std::ios::in | std::ios::out);
  early.write(block.data(), 48);
  early.close();
  ASSERT_LT(fs::file_size(at("early.h5")), fs::file_size(at("late.h5")));
  EXPECT_EQ(H5File::open(at("early.h5")).read<double>("/loss").size(), 300u);
  const std::uintmax_t size = fs::file_size(at("early.h5"));
  EXPECT_EQ(H5File::open(at("early.h5")).read<double>("/loss").size(), 300u);
  EXPECT_EQ(fs::file_size(at("early.h5")), size);  // a reader changes nothing
  EXPECT_EQ(H5File::open_append(at("early.h5")).read<double>("/loss").size(), 300u);
}

TEST_F(H5Test, SeriesGrowAndShrink) {
  {
    H5File f = H5File::create(at("a.h5"));
    H5Series s(f, "/layer/load", ElementType::float32, {4},
               {.units = "tokens", .description = "per expert", .deflate = 4});
    H5Series t(f, "/loss", ElementType::float64, {}, {.units = "nats", .description = "loss"});
    for (int i = 0; i < 300; ++i) {
      s.append(view(std::vector<double>(4, i)));
      t.append(view(std::vector<double>{0.5 * i}));
    }
    s.append(view(std::vector<double>(8, 300)));
    EXPECT_EQ(s.rows(), 302);
  }
  H5File f = H5File::open_append(at("a.h5"));
  EXPECT_MENTIONS(problem_of([&] { H5Series(f, "/layer/load", Shape{5}); }), "rows of shape [5] are needed");
  H5Series s(f, "/layer/load", Shape{4});
  s.truncate(100);
  s.truncate(200);
  s.append(view(std::vector<float>(4, -1)));
  EXPECT_EQ(f.shape("/layer/load"), (Shape{101, 4}));
  const std::vector<double> values = f.read<double>("/layer/load");
  EXPECT_EQ(values[99 * 4], 99);
  EXPECT_EQ(values[100 * 4], -1);
  EXPECT_EQ(f.read<double>("/loss").back(), 0.5 * 299);
}

TEST_F(H5Test, ReadersFollowAndADeadWriterIsContinued) {
  const std::string path = at("run.h5");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t writer = fork();
  if (writer == 0) {
    alarm(60);  // whatever becomes of the test
    H5File f = H5File::create(path, true);
    f.set_attribute("/", "format", "pleiad-run/1");
    H5Series s(f, "/loss", ElementType::float64, {},
               {.units = "nats", .description = "loss", .chunk_rows = 16, .deflate = 1});
    f.start_swmr();
    for (int i = 0; i < 50; ++i) s.append(view(std::vector<double>{1.0 * i}));
    s.flush();
    if (write(ready[1], "x", 1) == 1) pause();
    _exit(0);
  }
  char byte = 0;
  EXPECT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(problem_of([&] {
              const H5File f = H5File::open(path);  // while it is being written
              f.require_format("pleiad-run/1");
              EXPECT_EQ(f.read<double>("/loss").size(), 50u);
            }),
            "");
  kill(writer, SIGKILL);
  waitpid(writer, nullptr, 0);
  EXPECT_EQ(H5File::open(path).read<double>("/loss").size(), 50u);
  for (int i = 1; i <= 2; ++i) {
    H5File f = H5File::open_append(path);
    H5Series s(f, "/loss", Shape{});
    EXPECT_EQ(s.rows(), i == 1 ? 50 : 41);
    s.truncate(40);
    f.start_swmr();
    s.append(view(std::vector<double>{-1.0}));
    f.close();
  }
  EXPECT_EQ(H5File::open(path).read<double>("/loss").size(), 41u);
}

TEST_F(H5Test, PublishingReplacesTheFileWhole) {
  const std::string path = at("a.h5"), part = temporary_name(path);
  std::ofstream(path) << "old";
  {
    H5File f = H5File::create(part);
    f.set_attribute("/", "k", 3);
    f.close();
  }
  publish(part, path);
  EXPECT_EQ(H5File::open(path).integer("/", "k"), 3);
  EXPECT_FALSE(fs::exists(part));
  EXPECT_MENTIONS(problem_of([&] { publish(part, path); }), "No such file");
}

TEST_F(H5Test, SameContentSameBytes) {
  for (const char* name : {"a.h5", "b.h5"}) {
    H5File f = H5File::create(at(name));
    f.write("/g/x", view(std::vector<float>(1000, 1.5f)), {1000}, {.units = "1", .deflate = 2});
    f.set_attribute("/g", "k", 1);
  }
  const auto bytes = [&](const char* name) {
    std::ifstream in(at(name), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  EXPECT_EQ(bytes("a.h5"), bytes("b.h5"));
}

TEST_F(H5Test, NarrowingToFloatKeepsInfinity) {
  H5File f = H5File::create(at("a.h5"));
  f.write("/d", view(std::vector<double>{std::numeric_limits<double>::infinity(), 1e300, 0.1}), {3});
  const std::vector<float> v = f.read<float>("/d");
  EXPECT_TRUE(std::isinf(v[0]) && std::isinf(v[1]));
  EXPECT_EQ(v[2], 0.1f);
}

}  // namespace
}  // namespace pleiad::io
