// Corpora made from text and by synth, read back, and refused with a reason when something is wrong with them.
#include "pleiad/io/corpus.hpp"

#include "pleiad/io/checksum.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/synth.hpp"
#include "support/problem.hpp"
#include "support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace pleiad::io {
namespace {

namespace fs = std::filesystem;
using test::problem_of;

class CorpusTest : public test::TemporaryFolder {
 protected:
  std::string small_corpus(const std::string& name) const {
    build_corpus({.files = {text_file(name + ".txt", std::string(1000, 'a'))}, .out = at(name)});
    return at(name);
  }
};

std::string all_text(const Corpus& c, Split split) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(c.tokens(split)));
  c.read_window(split, 0, tokens);
  return c.tokenizer().decode(tokens);
}

std::string prose(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i)
    text += fmt::format("line {}: the router sends token {} to expert {}\n", i, i * 7 % 13, i * 5 % 8);
  return text;
}

TEST_F(CorpusTest, BytesOfTextComeBackWithTheirOrigin) {
  const std::string one = prose(40), two = "z\xFF\n";
  build_corpus({.files = {text_file("one.txt", one), text_file("two.txt", two)}, .out = at("c.h5")});
  const Corpus c = Corpus::load(at("c.h5"));
  const std::string all = one + two;
  EXPECT_EQ(c.tokens(Split::train), static_cast<i64>(all.size() * 9 / 10));
  EXPECT_EQ(all_text(c, Split::train) + all_text(c, Split::validation), all);
  EXPECT_EQ(c.bytes(Split::train) + c.bytes(Split::validation), static_cast<i64>(all.size()));
  EXPECT_EQ(c.vocab(), 256);
  EXPECT_EQ(c.window_alignment(), 1);
  EXPECT_FALSE(c.has_domains() || c.has_entropy());
  std::string lines;
  for (const std::string& line : c.describe()) lines += line + "\n";
  EXPECT_MENTIONS(lines, fmt::format("source: one.txt ({} bytes, sha256 {})", one.size(), sha256(one)));
  EXPECT_MENTIONS(lines, fmt::format("train: {} tokens", c.tokens(Split::train)));
  EXPECT_EQ(lines.find(folder_), lines.rfind(folder_));  // only in the name of the corpus itself
  const H5File file = H5File::open(at("c.h5"));
  EXPECT_EQ(file.type_name("/train/tokens"), "uint16");
  EXPECT_EQ(file.text("/train/tokens", "units"), "token");
  EXPECT_FALSE(file.text("/train/tokens", "description").empty());
}

TEST_F(CorpusTest, SentencePieceModelTravelsInTheFile) {
  if (!Tokenizer::have_sentencepiece()) GTEST_SKIP() << "built without SentencePiece";
  const std::string text = prose(2000);
  CorpusOptions options = {.files = {text_file("a.txt", text)}, .out = at("c.h5"), .tokenizer = {.kind = "sentencepiece"}};
  options.tokenizer.sentencepiece.vocab = 300;
  build_corpus(options);
  const Corpus c = Corpus::load(at("c.h5"));
  EXPECT_EQ(c.vocab(), 300);
  EXPECT_EQ(c.tokenizer().kind(), "sentencepiece");
  EXPECT_LT(c.tokens(Split::train), c.bytes(Split::train) * 4 / 5);
  EXPECT_EQ(all_text(c, Split::train) + all_text(c, Split::validation), text);
}

TEST_F(CorpusTest, BadInputIsNamed) {
  const std::string good = text_file("good.txt", "some text"), empty = text_file("empty.txt", "");
  const auto build = [&](std::vector<std::string> files, bool force = false) {
    return problem_of([&] { build_corpus({.files = files, .out = at("c.h5"), .force = force}); });
  };
  EXPECT_MENTIONS(build({}), "no text file was named");
  EXPECT_MENTIONS(build({good, at("none.txt")}), "none.txt' does not exist");
  EXPECT_MENTIONS(build({folder_}), "is a folder");
  EXPECT_MENTIONS(build({empty, empty}), "the corpus is empty: no text in " + empty + ", " + empty);
  EXPECT_TRUE(fs::is_empty(at("empty.txt")));
  EXPECT_FALSE(fs::exists(at("c.h5")) || fs::exists(temporary_name(at("c.h5"))));
  EXPECT_EQ(build({good}), "");
  EXPECT_MENTIONS(build({good}), "c.h5' exists already");
  EXPECT_EQ(build({good}, true), "");
  EXPECT_MENTIONS(problem_of([&] { build_corpus({.files = {good}, .out = good, .force = true}); }),
                  "is one of the text files");
  EXPECT_MENTIONS(problem_of([&] { build_corpus({.files = {good}, .out = folder_}); }),
                  "is a folder; a file name is needed");
  EXPECT_MENTIONS(problem_of([&] { build_corpus({.files = {good}, .out = at("no/c.h5")}); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { build_corpus({.files = {good}, .out = at("d.h5"), .tokenizer = {.kind = "words"}}); }),
                  "allowed: bytes, sentencepiece");
  EXPECT_MENTIONS(problem_of([&] { build_corpus({.files = {good}, .out = at("d.h5"), .validation_fraction = -0.1}); }),
                  "allowed: 0 to 0.9");
}

TEST_F(CorpusTest, DamagedFilesAreRefused) {
  EXPECT_MENTIONS(problem_of([&] { Corpus::load(at("none.h5")); }), "No such file");
  EXPECT_MENTIONS(problem_of([&] { Corpus::load(text_file("t.txt", "text")); }), "is not an HDF5 file");
  H5File::create(at("foreign.h5")).set_attribute("/", "format", "pleiad-run/1");
  EXPECT_MENTIONS(problem_of([&] { Corpus::load(at("foreign.h5")); }),
                  "has format 'pleiad-run/1'; format 'pleiad-corpus/1' is needed");

  const std::string cut = small_corpus("cut.h5");
  fs::resize_file(cut, fs::file_size(cut) - 100);
  EXPECT_MENTIONS(problem_of([&] { Corpus::load(cut); }), "truncated file");

  const auto changed = [&](auto&& change) {
    fs::remove(at("x.h5"));
    const std::string path = small_corpus("x.h5");
    {
      H5File f = H5File::open_append(path);
      change(f);
      f.close();
    }
    return problem_of([&] { Corpus::load(path); });
  };
  EXPECT_EQ(changed([](H5File&) {}), "");
  EXPECT_MENTIONS(changed([](H5File& f) { f.set_attribute("/", "vocab", 100); }),
                  "a vocabulary of 100, but its tokenizer has 256");
  EXPECT_MENTIONS(changed([](H5File& f) { f.set_attribute("/", "vocab", i64{1} << 60); }),
                  "is damaged: a vocabulary of");
  EXPECT_MENTIONS(changed([](H5File& f) { f.set_attribute("/", "tokenizer", "words"); }),
                  "tokenizer 'words' is unknown");
  EXPECT_MENTIONS(changed([](H5File& f) { f.set_attribute("/", "window_alignment", 0); }), "a window alignment of 0");
  EXPECT_MENTIONS(changed([](H5File& f) { f.write_texts("/domains", {"a"}, "names"); }), "cannot open '/train/domain'");
  const std::vector<std::uint16_t> high = {300};
  EXPECT_MENTIONS(changed([&](H5File& f) {
                    f.write_rows<std::uint16_t>("/train/tokens", {{5, 1}}, high);
                  }),
                  "token 300 with a vocabulary");
}

TEST_F(CorpusTest, VocabularyMismatchIsNamed) {
  const Corpus c = Corpus::load(small_corpus("c.h5"));
  c.require_vocab(256);
  EXPECT_MENTIONS(problem_of([&] { c.require_vocab(300); }),
                  "has a vocabulary of 256 (tokenizer bytes) and the model one of 300");
}

TEST_F(CorpusTest, SyntheticCorpusKeepsItsTruth) {
  const SynthOptions options = {.tokens = 64 * 200, .document_length = 64, .domains = {"easy", "brackets"}, .seed = 4};
  synth_corpus(options, at("s.h5"));
  const CorpusContent truth = make_synth_corpus(options);
  const Corpus c = Corpus::load(at("s.h5"));
  EXPECT_EQ(c.domain_names(), options.domains);
  EXPECT_TRUE(c.has_domains() && c.has_entropy());
  EXPECT_EQ(c.window_alignment(), 64);
  EXPECT_EQ(c.tokens(Split::train), 64 * 180);
  std::vector<std::int32_t> tokens(64), domains(64);
  std::vector<float> entropy(64);
  c.read_window(Split::train, 640, tokens);
  c.read_domains(Split::train, 640, domains);
  c.read_entropy(Split::train, 640, entropy);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(tokens[i], truth.train.tokens[640 + i]);
    EXPECT_EQ(domains[i], truth.train.domain[640 + i]);
    EXPECT_EQ(entropy[i], truth.train.entropy[640 + i]);
  }
  EXPECT_NEAR(c.mean_entropy(Split::train, 0), 0.5, 0.1);
  EXPECT_THROW(c.read_window(Split::validation, 64 * 20 - 1, tokens), LogicError);
  EXPECT_MENTIONS(problem_of([&] { synth_corpus(options, at("s.h5")); }), "exists already");
  // Without a validation part.
  synth_corpus({.tokens = 256, .validation_fraction = 0}, at("t.h5"));
  EXPECT_EQ(Corpus::load(at("t.h5")).tokens(Split::validation), 0);
}

TEST(CorpusBatches, TrainingWindowsAreDrawnFromAllAllowedStarts) {
  const CorpusBatches b(1000, 100, 1, 16, 5);
  EXPECT_EQ(b.train_windows(), 984);
  std::set<i64> seen;
  for (i64 step = 0; step < 2000; ++step) {
    for (i64 s = 0; s < 4; ++s) {
      const i64 start = b.train_start(step, s);
      EXPECT_TRUE(start >= 0 && start + 17 <= 1000);
      EXPECT_EQ(start, CorpusBatches(1000, 100, 1, 16, 5).train_start(step, s));
      seen.insert(start);
    }
  }
  EXPECT_GT(seen.size(), 970u);
  EXPECT_NE(b.train_start(3, 0), CorpusBatches(1000, 100, 1, 16, 6).train_start(3, 0));
  EXPECT_TRUE(seen.count(0) && seen.count(983));
  // Whole documents: multiples of the alignment only.
  const CorpusBatches d(128 * 10, 128 * 3, 128, 128, 5);
  EXPECT_EQ(d.train_windows(), 9);  // the last document has no token after it
  std::set<i64> documents;
  for (i64 step = 0; step < 200; ++step) documents.insert(d.train_start(step, 0));
  EXPECT_EQ(documents.size(), 9u);
  for (const i64 start : documents) EXPECT_EQ(start % 128, 0);
  EXPECT_TRUE(d.whole_documents());
  EXPECT_FALSE(CorpusBatches(1280, 384, 128, 100, 5).whole_documents());
}

TEST(CorpusBatches, EvaluationWindowsCoverThePartOnce) {
  const CorpusBatches b(1000, 100, 1, 16, 5);
  EXPECT_EQ(b.eval_windows(), 6);  // 99 targets
  EXPECT_EQ(b.eval_dropped(), 3);
  EXPECT_EQ(b.eval_start(5), 80);
  EXPECT_EQ(b.eval_windows(Split::train), 62);
  EXPECT_EQ(CorpusBatches(1000, 17, 1, 16, 5).eval_windows(), 1);
  EXPECT_EQ(CorpusBatches(1000, 17, 1, 16, 5).eval_dropped(), 0);
  EXPECT_EQ(CorpusBatches(1000, 0, 1, 16, 5).eval_windows(), 0);
  EXPECT_EQ(CorpusBatches(17, 17, 128, 16, 5).train_start(1, 1), 0);
  EXPECT_MENTIONS(problem_of([] { CorpusBatches(16, 100, 1, 16, 5); }),
                  "train part of the corpus has 16 tokens; windows of model.seq_len = 16 inputs");
  EXPECT_MENTIONS(problem_of([] { CorpusBatches(100, 16, 1, 16, 5); }), "validation part of the corpus has 16 tokens");
}

}  // namespace
}  // namespace pleiad::io
