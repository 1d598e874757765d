// Example files: labelled texts and pairs, what they hold, what is refused, and the batches made of them.
#include "pleiad/io/examples.hpp"

#include "pleiad/io/example_source.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <set>

namespace pleiad::io {
namespace {

namespace fs = std::filesystem;
using test::problem_of;

class ExamplesTest : public test::TemporaryFolder {
 protected:
  /// Two classes, texts ab, c, def | x, yz.
  LabelledOptions labelled() const {
    return {.train = text_file("train.tsv", "good\tab\nbad\tc\ngood\tdef\n"), .validation = text_file("dev.tsv", "bad\tx\r\ngood\tyz"),
            .text_column = 2, .label_column = 1, .out = at("l.h5")};
  }
  PairOptions pairs() const {
    return {.train = {text_file("t.en", "ab\nc\n\nlonger source\n"), text_file("t.de", "A\nBC\nD\nlonger target\n")},
            .validation = {text_file("v.en", "x\nab\n"), text_file("v.de", "Y\nCD\n")}, .out = at("p.h5")};
  }
};

std::string text(std::span<const std::int32_t> tokens) { return Tokenizer().decode(tokens); }

TEST_F(ExamplesTest, LabelledTextsComeBack) {
  build_labelled(labelled());
  const Examples e = Examples::load(at("l.h5"));
  EXPECT_EQ(e.task(), model::Task::classifier);
  EXPECT_EQ(e.labels(), (std::vector<std::string>{"bad", "good"}));
  EXPECT_EQ(e.vocab(), 256);
  ASSERT_EQ(e.count(Split::train), 3);
  ASSERT_EQ(e.count(Split::validation), 2);
  EXPECT_EQ(e.count(Split::test), 0);
  EXPECT_EQ(text(e.input(Split::train, 2)), "def");
  EXPECT_EQ(e.label(Split::train, 1), 0);
  EXPECT_EQ(text(e.input(Split::validation, 0)), "x") << "without its carriage return";
  EXPECT_EQ(e.label(Split::validation, 1), 1);
}

TEST_F(ExamplesTest, PairsComeBackWithoutThoseThatHaveNoText) {
  build_pairs(pairs());
  const Examples e = Examples::load(at("p.h5"));
  EXPECT_EQ(e.task(), model::Task::seq2seq);
  EXPECT_EQ(e.vocab(), 258);
  ASSERT_EQ(e.count(Split::train), 3);
  EXPECT_EQ(text(e.input(Split::train, 2)), "longer source");
  EXPECT_EQ(text(e.target(Split::train, 2)), "longer target");
  bool told = false;
  for (const std::string& line : e.describe()) told = told || line.find("train_left_out_empty = 1") != std::string::npos;
  EXPECT_TRUE(told);
}

TEST_F(ExamplesTest, BadTextsAreRefusedByFileAndLine) {
  LabelledOptions o = labelled();
  o.train = text_file("bad.tsv", "good\tab\nbad\n");
  EXPECT_MENTIONS(problem_of([&] { build_labelled(o); }), "bad.tsv line 2: has 1 tab-separated columns, but column 2");
  o.train = text_file("bad.tsv", "good\tab\n\tc\n");
  EXPECT_MENTIONS(problem_of([&] { build_labelled(o); }), "bad.tsv line 2: column 1 holds no label");
  o.train = text_file("bad.tsv", "good\tab\ngood\tc\n");
  EXPECT_MENTIONS(problem_of([&] { build_labelled(o); }), "holds 1 different labels; allowed are 2 to 1024");
  o.train = text_file("bad.tsv", "good\tab\nnew\tc\n");
  EXPECT_MENTIONS(problem_of([&] { build_labelled(o); }), "dev.tsv: the label 'bad' does not occur in the training part");
  o.train = text_file("bad.tsv", "");
  EXPECT_MENTIONS(problem_of([&] { build_labelled(o); }), "bad.tsv: holds no example");
  PairOptions p = pairs();
  p.train.target = text_file("short.de", "A\n");
  EXPECT_MENTIONS(problem_of([&] { build_pairs(p); }), "short.de has 1: they must have as many");
  p.train.target = at("missing.de");
  EXPECT_MENTIONS(problem_of([&] { build_pairs(p); }), "missing.de' does not exist");
  EXPECT_FALSE(fs::exists(at("l.h5")));
  EXPECT_FALSE(fs::exists(at("p.h5")));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 8) << "only the texts are left";
}

TEST_F(ExamplesTest, DamagedFilesAreRefused) {
  const auto damaged = [&](auto change) {
    PairOptions o = pairs();
    o.force = true;
    build_pairs(o);
    {
      H5File f = H5File::open_append(at("p.h5"));
      change(f);
      f.close();
    }
    return problem_of([&] { Examples::load(at("p.h5")); });
  };
  EXPECT_EQ(damaged([](H5File&) {}), "");
  EXPECT_MENTIONS(damaged([](H5File& f) { f.write_rows<std::int32_t>("/train/input", {{0, 1}}, std::vector<std::int32_t>{256}); }), "token 256 in /train/input with a vocabulary of 256");
  EXPECT_MENTIONS(damaged([](H5File& f) { f.write_rows<std::int32_t>("/train/target", {{0, 1}}, std::vector<std::int32_t>{-1}); }), "token -1 in /train/target");
  EXPECT_MENTIONS(damaged([](H5File& f) { f.write_rows<i64>("/train/input_offset", {{1, 1}}, std::vector<i64>{1000}); }), "/train/input_offset does not cut");
  EXPECT_MENTIONS(damaged([](H5File& f) { f.write_rows<i64>("/validation/target_offset", {{0, 1}}, std::vector<i64>{1}); }), "/validation/target_offset does not cut");
  EXPECT_MENTIONS(damaged([](H5File& f) { f.set_attribute("/", "format", "other/1"); }), "format");
  LabelledOptions l = labelled();
  build_labelled(l);
  H5File f = H5File::open_append(at("l.h5"));
  f.write_rows<std::int32_t>("/train/label", {{0, 1}}, std::vector<std::int32_t>{2});
  f.close();
  EXPECT_MENTIONS(problem_of([&] { Examples::load(at("l.h5")); }), "label 2 of 2 in /train");
}

TEST_F(ExamplesTest, ABatchOfPairsPredictsTheTargetAndItsEnd) {
  build_pairs(pairs());
  const Examples e = Examples::load(at("p.h5"));
  ExampleSource source(e, 8, 1);
  EXPECT_MENTIONS(source.note(), "1 of 3 train examples are longer than model.seq_len = 8 and left out");
  train::Truth truth;
  const model::Batch b = source.evaluation(0, LaneLayout(1, 2, 8, 1, 0), truth);
  const std::int32_t sep = 256, end = 257;
  EXPECT_EQ(b.input, (std::vector<std::int32_t>{'x', sep, 'Y', 0, 0, 0, 0, 0, 'a', 'b', sep, 'C', 'D', 0, 0, 0}));
  EXPECT_EQ(b.target, (std::vector<std::int32_t>{-1, 'Y', end, -1, -1, -1, -1, -1, -1, -1, 'C', 'D', end, -1, -1, -1}));
  EXPECT_EQ(b.length, (std::vector<i64>{3, 5}));
  EXPECT_EQ(b.prefix, (std::vector<i64>{2, 3}));
  EXPECT_EQ(decode_pair(e.tokenizer(), std::span(b.input).subspan(8, 5)), "ab => CD");
  EXPECT_MENTIONS(problem_of([&] { ExampleSource(e, 2, 1); }), "has no example of at most model.seq_len = 2 tokens");
}

TEST_F(ExamplesTest, ABatchOfTextsIsCutToTheLength) {
  build_labelled(labelled());
  const Examples e = Examples::load(at("l.h5"));
  ExampleSource source(e, 2, 1, Split::train);
  EXPECT_MENTIONS(source.note(), "1 of 3 train examples are longer than model.seq_len = 2 and cut");
  train::Truth truth;
  const model::Batch b = source.evaluation(0, LaneLayout(1, 3, 2, 1, 0), truth);
  EXPECT_EQ(b.input, (std::vector<std::int32_t>{'a', 'b', 'c', 0, 'd', 'e'}));
  EXPECT_EQ(b.target, (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(b.length, (std::vector<i64>{2, 1, 2}));
  EXPECT_TRUE(b.prefix.empty());
}

// Every epoch has every example once, in an order of its own that does not depend on how batches and ranks cut it.
TEST_F(ExamplesTest, TrainingGoesThroughAllExamplesInEveryEpoch) {
  std::string many;
  for (int i = 0; i < 20; ++i) many += fmt::format("{}\t{}\n", i % 2 ? "odd" : "even", static_cast<char>('a' + i));
  LabelledOptions o = labelled();
  o.train = text_file("many.tsv", many);
  o.validation = o.train;
  build_labelled(o);
  const Examples e = Examples::load(at("l.h5"));
  const auto stream = [&](i64 batch, i64 ranks, std::uint64_t seed) {
    std::vector<std::vector<std::int32_t>> parts;
    std::vector<ExampleSource> sources(static_cast<std::size_t>(ranks), ExampleSource(e, 4, seed));
    std::vector<std::int32_t> letters;
    for (i64 step = 0; step * batch < 120; ++step) {
      for (i64 rank = 0; rank < ranks; ++rank) {
        const model::Batch b = sources[rank].training(step, LaneLayout(8, batch, 4, ranks, rank));
        for (std::size_t s = 0; s < b.length.size(); ++s) letters.push_back(b.input[4 * s]);
      }
    }
    letters.resize(120);
    return letters;
  };
  const auto one = stream(6, 1, 7);
  for (int epoch = 0; epoch < 6; ++epoch) {
    EXPECT_EQ(std::set(one.begin() + 20 * epoch, one.begin() + 20 * (epoch + 1)).size(), 20u) << "epoch " << epoch;
  }
  EXPECT_FALSE(std::equal(one.begin(), one.begin() + 20, one.begin() + 20)) << "two epochs in the same order";
  EXPECT_EQ(stream(6, 3, 7), one);
  EXPECT_EQ(stream(13, 2, 7), one);
  EXPECT_NE(stream(6, 1, 8), one);
}

}  // namespace
}  // namespace pleiad::io
