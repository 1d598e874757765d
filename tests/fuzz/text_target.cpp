// Text for corpora and examples, and tokenizer models: what `pleiad data` reads. The first byte says which.
#include "fuzz.hpp"

#include "pleiad/io/corpus.hpp"
#include "pleiad/io/examples.hpp"

namespace {

using namespace pleiad;

void require_round_trip(const io::Tokenizer& tokenizer, const std::string& text) {
  const std::vector<std::int32_t> tokens = tokenizer.encode(text);
  if (tokenizer.decode(tokens) != text) fuzz::finding("a text is not what its tokens say");
  for (const std::int32_t t : tokens) {
    if (t < 0 || t >= tokenizer.vocab()) fuzz::finding(fmt::format("token {} with a vocabulary of {}", t, tokenizer.vocab()));
  }
}

/// A model that words of one text made.
const io::Tokenizer& words() {
  static const io::Tokenizer trained = [] {
    std::string text;
    for (int i = 0; i < 300; ++i) text += fmt::format("the river {} runs over grass and stone {}\n", i % 17, i % 5);
    return io::Tokenizer::have_sentencepiece() ? io::Tokenizer::train_sentencepiece(text, {.vocab = 284}) : io::Tokenizer();
  }();
  return trained;
}

void build_and_read(fuzz::Bytes bytes, int kind) {
  const std::string folder = fuzz::scratch(), train = folder + "/train.txt", held_out = folder + "/held_out.txt", out = folder + "/out.h5";
  const bool header = bytes.byte() & 1;
  const i64 text_column = 1 + static_cast<i64>(bytes.below(3)), label_column = 1 + static_cast<i64>(bytes.below(3));
  fuzz::put(held_out, kind == 2 ? std::string(bytes.text()) : std::string(bytes.take(bytes.byte() / 2)));
  fuzz::put(train, bytes.rest());
  const bool built = fuzz::attempt([&] {
    if (kind == 0) io::build_corpus({.files = {train, held_out}, .out = out, .validation_fraction = 0.25, .force = true});
    if (kind == 1) {
      io::build_labelled({.train = train, .validation = held_out, .text_column = text_column, .label_column = label_column, .header = header, .out = out, .force = true});
    }
    if (kind == 2) io::build_pairs({.train = {train, held_out}, .validation = {train, held_out}, .out = out, .force = true});
  });
  if (!built) return;
  // What we made we must be able to read.
  const bool read = fuzz::attempt([&] { kind == 0 ? io::Corpus::load(out).describe() : io::Examples::load(out).describe(); });
  if (!read) fuzz::finding("a data file that was just made cannot be read");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Bytes bytes(data, size);
  const std::size_t kind = bytes.below(5);
  if (kind < 3) {
    build_and_read(bytes, static_cast<int>(kind));
  } else if (kind == 3) {
    require_round_trip(words(), std::string(bytes.rest()));
  } else {
    fuzz::attempt([&] {
      // Either a model of whatever bytes, or a good one with a few of them changed.
      std::string model = bytes.byte() & 1 ? std::string(bytes.rest()) : words().serialise();
      while (!bytes.empty()) model[bytes.number(2) % model.size()] = static_cast<char>(bytes.byte());
      const io::Tokenizer tokenizer = io::Tokenizer::from_serialised(model);
      tokenizer.encode("the river and a stone \xC3\xA9 \xFF");
      tokenizer.decode(std::vector<std::int32_t>{0, 1, 255, 256, 300, -1});
    });
  }
  return 0;
}
