// The index of a sweep and the small files beside it: written and read back, and not believed when damaged.
#include "pleiad/io/sweep_index.hpp"

#include "pleiad/io/small_file.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

namespace pleiad::io {
namespace {

class SweepIndexTest : public test::TemporaryFolder {
 protected:
  SweepIndex sample() const {
    SweepIndex s;
    s.name = "widths";
    s.folder = folder_;
    s.definition = "[sweep]\nbase = \"ä\"\n";
    s.config = "[model]\n";
    s.keys = {"moe.experts", "moe.expert_width"};
    s.points = {{"a_1", "identity", "id", "sum", {{"moe.experts", "8"}, {"moe.expert_width", "32"}}, 3, 2, {{"flops_per_token", 1.5e6}}}};
    return s;
  }
};

TEST_F(SweepIndexTest, IsReadBackAsItWasWritten) {
  EXPECT_FALSE(is_sweep(folder_));
  write_sweep_index(sample());
  EXPECT_TRUE(is_sweep(folder_));
  const SweepIndex s = read_sweep_index(folder_), was = sample();
  EXPECT_EQ(s.name, was.name);
  EXPECT_EQ(s.definition, was.definition);
  EXPECT_EQ(s.config, was.config);
  EXPECT_EQ(s.keys, was.keys);
  ASSERT_EQ(s.points.size(), 1u);
  const SweepPoint &p = s.points[0], &q = was.points[0];
  EXPECT_EQ(p.name, q.name);
  EXPECT_EQ(p.identity, q.identity);
  EXPECT_EQ(p.id, q.id);
  EXPECT_EQ(p.config_sum, q.config_sum);
  EXPECT_EQ(p.settings, q.settings);
  EXPECT_EQ(p.seed, 3);
  EXPECT_EQ(p.ranks, 2);
  EXPECT_EQ(p.sizes, q.sizes);
  EXPECT_EQ(s.path_of(p), folder_ + "/points/a_1");
}

TEST_F(SweepIndexTest, DamageIsOneSentence) {
  EXPECT_MENTIONS(test::problem_of([&] { read_sweep_index(folder_); }), "holds no sweep");
  write_sweep_index(sample());
  std::string whole;
  ASSERT_TRUE(read_whole(at("sweep.json"), whole));
  const auto expect = [&](const std::string& text) {
    text_file("sweep.json", text);
    EXPECT_MENTIONS(test::problem_of([&] { read_sweep_index(folder_); }), "sweep.json: is damaged or of another version");
  };
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (std::size_t cut = 0; cut < whole.size() - 1; cut += 37) expect(whole.substr(0, cut));
  expect("[]");
  expect(with("pleiad-sweep-index/1", "pleiad-sweep-index/2"));
  expect(with("\"a_1\"", "\"../../elsewhere\""));
  expect(with("\"a_1\"", "\".hidden\""));
  expect(with("\"a_1\"", "7"));
  expect(with("\"ranks\": 2", "\"ranks\": 0"));
  expect(with("\"seed\": 3", "\"seed\": \"three\""));
}

TEST_F(SweepIndexTest, SmallFilesAreReplacedWhole) {
  std::string text = "before";
  EXPECT_FALSE(read_whole(at("nothing"), text));
  const std::string large(200'000, 'x');
  replace_whole(at("file"), "one", true);
  replace_whole(at("file"), large, false);
  EXPECT_TRUE(read_whole(at("file"), text));
  EXPECT_EQ(text, large);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1) << "nothing is left beside";
  EXPECT_MENTIONS(test::problem_of([&] { replace_whole(at("no/folder"), "x", false); }), "no/folder: cannot be written");
}

}  // namespace
}  // namespace pleiad::io
