#include "pleiad/bench/record.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "pleiad/io/h5.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::bench {
namespace {

Record sample(double error) {
  Record r;
  r.bench = "layer";
  r.name = "8x1024";
  r.what = "a \"pass\"";
  r.library = "openblas";
  r.shape = {{"tokens", 4096}, {"width", 256}};
  r.times.subject = {2, 2, 4};
  r.times.roof = {1, 1, 1, 1};
  r.subject = {"operations", "FLOP/s", 3e9};
  r.roof = {"one product", "FLOP/s", 2e9};
  r.checks = {{"y", 1e-7, 1e-5}, {"d_x", error, 1e-2}};
  r.figures = {{"tokens_per_second", "tokens/s", "all ranks", 2048}};
  r.config = "[moe]\nk = 2\n";
  return r;
}

TEST(Record, SaysTheRateTheRoofAndTheRatio) {
  const Record r = sample(1e-3);
  EXPECT_EQ(r.value(), 1.5e9);
  EXPECT_EQ(r.roof_value(), 2e9);
  EXPECT_DOUBLE_EQ(r.ratio().median, 0.75);
  EXPECT_TRUE(r.passed());
  for (const char* part : {"layer 8x1024", "tokens 4096", "1.50 GFLOP/s of 2.00 GFLOP/s (one product)", "ratio 0.750", "d_x: 1.0e-03 of 1e-02, ok", "2.05 ktokens/s"}) EXPECT_MENTIONS(in_words(r), part);
}

TEST(Record, FailsWithAnyOfItsChecksAndWithNaN) {
  EXPECT_FALSE(sample(2e-2).passed());
  EXPECT_FALSE(sample(std::nan("")).passed());
  for (const char* part : {"d_x", "FAILED"}) EXPECT_MENTIONS(in_words(sample(std::nan(""))), part);
}

TEST(Rates, InWords) {
  EXPECT_EQ(rate_in_words(999, "tokens/s"), "999 tokens/s");
  EXPECT_EQ(rate_in_words(45.64e9, "byte/s"), "45.6 Gbyte/s");
  EXPECT_EQ(rate_in_words(6640, "ms"), "6640 ms");
  EXPECT_EQ(rate_in_words(0.875, "1"), "0.875");
}

TEST(Record, AsJsonHoldsEverything) {
  const nlohmann::json j = nlohmann::json::parse(to_json(sample(1e-3), {{"cpu", "some \x01 processor"}}));
  EXPECT_EQ(j["format"], "pleiad-bench/1");
  EXPECT_EQ(j["case"], "8x1024");
  EXPECT_EQ(j["shape"]["tokens"], 4096);
  EXPECT_EQ(j["value"], 1.5e9);
  EXPECT_EQ(j["roof"]["value"], 2e9);
  EXPECT_EQ(j["ratio"]["median"], 0.75);
  EXPECT_EQ(j["ratio"]["samples"], 3);
  EXPECT_EQ(j["checks"].size(), 2u);
  EXPECT_EQ(j["passed"], true);
  EXPECT_EQ(j["figures"]["tokens_per_second"]["value"], 2048);
  EXPECT_EQ(j["config"], "[moe]\nk = 2\n");
  EXPECT_TRUE(j["facts"].contains("cpu"));
  EXPECT_EQ(to_json(sample(1e-3), {}).find('\n'), std::string::npos);
}

class RecordFile : public test::TemporaryFolder {};

TEST_F(RecordFile, IsHdf5WithUnitsAndDescriptions) {
  write_h5(at("b.h5"), {sample(1e-3)}, {{"cpu", "x"}});
  write_h5(at("b.h5"), {sample(1e-3), sample(1)}, {{"cpu", "x"}});
  const io::H5File file = io::H5File::open(at("b.h5"));
  file.require_format(k_bench_format);
  EXPECT_EQ(file.text("/", "cpu"), "x");
  EXPECT_EQ(file.read<double>("/cases/ratio"), (std::vector<double>{0.75, 0.75}));
  EXPECT_EQ(file.read<std::uint8_t>("/cases/passed"), (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(file.read<i64>("/samples/case"), (std::vector<i64>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(file.read_texts("/figures/name"), (std::vector<std::string>{"tokens_per_second", "tokens_per_second"}));
  for (const std::string& group : file.list("/")) {
    for (const std::string& name : file.list("/" + group)) {
      const std::string path = "/" + group + "/" + name;
      EXPECT_TRUE(file.has_attribute(path, "description")) << path;
      EXPECT_TRUE(file.type_name(path) == "string" || file.has_attribute(path, "units")) << path;
    }
  }
}

TEST_F(RecordFile, ThatCannotBeWrittenIsAProblem) {
  EXPECT_MENTIONS(test::problem_of([&] { write_h5(at("none/b.h5"), {sample(1e-3)}, {}); }), "none/b.h5");
}

}  // namespace
}  // namespace pleiad::bench
