// Tokenizers give back every byte, train quietly and the same way twice, and say what is wrong with damaged ones.
#include "pleiad/io/tokenizer.hpp"

#include "pleiad/core/random.hpp"
#include "pleiad/io/checksum.hpp"
#include "support/problem.hpp"

#include <gtest/gtest.h>

namespace pleiad::io {
namespace {

using test::problem_of;

std::string sample_text() {
  const char* words[] = {"the", "router", "sends",       "every", "token", "to",
                         "an",  "expert", "caf\xC3\xA9", "and",   "back",  "again"};
  const Stream stream(1, Purpose::test);
  std::string text;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    text += words[stream.below(i, 12)];
    text += i % 11 == 10 ? ".\n" : i % 97 == 0 ? "  " : " ";
  }
  return text;
}

std::vector<std::string> awkward_texts() {
  std::string all_bytes;
  for (int b = 0; b < 256; ++b) all_bytes.push_back(static_cast<char>(b));
  std::vector<std::string> texts = {"",
                                    " ",
                                    "  two  spaces  ",
                                    "\n\n\tline\r\n",
                                    "\xE2\x96\x81 the lower block and the space \xE2\x96\x81\xE2\x96\x81",
                                    "<s> </s> <unk> <0x41> \xE2\x96\x85",
                                    "\xEF\xBF\xBD \xC3( \xF0\x9F\x8C\x8C \xED\xA0\x80 \xC0\x80 \xE2\x82",
                                    "e\xCC\x81 \xEF\xAC\x81 \xE3\x8E\x8F \xEF\xBC\xA1",  // what NFKC would change
                                    std::string(200000, 'x'),
                                    all_bytes};
  const Stream stream(2, Purpose::test);
  std::string noise;
  for (std::uint64_t i = 0; i < 20000; ++i) noise.push_back(static_cast<char>(stream.below(i, 256)));
  texts.push_back(noise);
  return texts;
}

TEST(Checksum, KnownAnswers) {  // FIPS 180-4 examples
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const std::string text(300, 'q');
  Sha256 pieces;
  for (std::size_t at = 0; at < 300; at += 7) pieces.add(std::string_view(text).substr(at, 7));
  EXPECT_EQ(pieces.hex(), sha256(text));
}

TEST(Tokenizer, BytesAreTokens) {
  const Tokenizer t;
  EXPECT_EQ(t.kind(), "bytes");
  EXPECT_EQ(t.vocab(), 256);
  EXPECT_EQ(t.encode("A\xFF"), (std::vector<std::int32_t>{65, 255}));
  for (const std::string& text : awkward_texts()) EXPECT_EQ(t.decode(t.encode(text)), text);
  EXPECT_EQ(t.decode(std::vector<std::int32_t>{72, -1, 256, 105}), "Hi");
  const Tokenizer again = Tokenizer::from_serialised(t.serialise());
  EXPECT_EQ(again.fingerprint(), t.fingerprint());
  EXPECT_EQ(t.fingerprint().size(), 16u);
}

TEST(Tokenizer, DamagedOnesAreRefused) {
  EXPECT_MENTIONS(problem_of([] { Tokenizer::from_serialised("nonsense"); }), "does not begin with");
  EXPECT_MENTIONS(problem_of([] { Tokenizer::from_model("words", ""); }),
                  "tokenizer 'words' is unknown; allowed: bytes, sentencepiece");
  EXPECT_NE(problem_of([] { Tokenizer::from_model("sentencepiece", "nonsense"); }), "");
}

TEST(Tokenizer, SentencePieceWithoutTheLibrary) {
  if (Tokenizer::have_sentencepiece()) GTEST_SKIP() << "the library is there";
  EXPECT_MENTIONS(problem_of([] { Tokenizer::train_sentencepiece("text", {}); }), "install libsentencepiece-dev");
}

class SentencePieceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Tokenizer::have_sentencepiece()) GTEST_SKIP() << "built without SentencePiece";
  }
};

TEST_F(SentencePieceTest, GivesBackEveryByte) {
  const std::string text = sample_text();
  for (const char* model : {"unigram", "bpe"}) {
    const Tokenizer t = Tokenizer::train_sentencepiece(text, {.vocab = 300, .model = model});
    EXPECT_EQ(t.kind(), "sentencepiece");
    EXPECT_EQ(t.vocab(), 300);
    const std::vector<std::int32_t> tokens = t.encode(text);
    EXPECT_LT(tokens.size(), text.size() * 2 / 3) << model;
    EXPECT_EQ(t.decode(tokens), text);
    for (const std::string& awkward : awkward_texts()) {
      const std::vector<std::int32_t> ids = t.encode(awkward);
      for (const std::int32_t id : ids) ASSERT_TRUE(id >= 0 && id < 300);
      EXPECT_EQ(t.decode(ids), awkward) << model;
    }
    EXPECT_EQ(t.encode("\n").size(), 1u);
  }
}

TEST_F(SentencePieceTest, TrainsQuietlyAndTheSameWayTwice) {
  const std::string text = sample_text();
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const Tokenizer a = Tokenizer::train_sentencepiece(text, {.vocab = 290});
  const Tokenizer b = Tokenizer::train_sentencepiece(text, {.vocab = 290});
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(a.model(), b.model());
  const Tokenizer c = Tokenizer::from_serialised(a.serialise());
  EXPECT_EQ(c.fingerprint(), a.fingerprint());
  EXPECT_EQ(c.encode(text), a.encode(text));
  EXPECT_NE(Tokenizer().fingerprint(), a.fingerprint());
  // A sample of a long text serves too.
  EXPECT_EQ(Tokenizer::train_sentencepiece(text, {.vocab = 290, .training_bytes = 20000}).vocab(), 290);
}

TEST_F(SentencePieceTest, ImpossibleVocabulariesAreRefused) {
  const std::string text = sample_text();
  testing::internal::CaptureStderr();
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::train_sentencepiece(text, {.vocab = 100}); }), "allowed: 260 to 1000000");
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::train_sentencepiece(text, {.vocab = 50000}); }),
                  "vocabulary of 50000 cannot be trained");
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::train_sentencepiece(text, {.vocab = 262}); }),
                  "vocabulary of 262 cannot be trained");
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::train_sentencepiece(text, {.vocab = 300, .model = "word"}); }),
                  "allowed: unigram, bpe");
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::train_sentencepiece("\xFF\xFE\n", {.vocab = 300}); }), "no UTF-8 words");
  std::string model = Tokenizer::train_sentencepiece(text, {.vocab = 300}).model();
  model.resize(model.size() / 2);
  EXPECT_MENTIONS(problem_of([&] { Tokenizer::from_model("sentencepiece", model); }), "is damaged");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace pleiad::io
