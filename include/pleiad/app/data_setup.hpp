// The data of a command, whichever kind of file holds them: a corpus (language model, of the next token or of masked ones), labelled texts (classifier)
// or pairs (sequence to sequence). The file decides the task, of a corpus together with train.objective.
#pragma once
#include <memory>
#include <optional>

#include "pleiad/app/model_setup.hpp"
#include "pleiad/io/corpus_source.hpp"
#include "pleiad/io/example_source.hpp"

namespace pleiad::app {

class Data {
 public:
  /// Every rank reads the file, with `scratch` a copy of it in that folder of its node, which is then removed. mask_share: as in train::TrainConfig;
  /// for a corpus only. UserError on all ranks. collective.
  static Data open(const comm::Communicator& world, const std::string& path, std::optional<double> mask_share, const std::string& scratch = "");

  DataShape shape() const;
  const io::Tokenizer& tokenizer() const { return corpus_ ? corpus_->tokenizer() : examples_->tokenizer(); }
  const std::string& fingerprint() const { return corpus_ ? corpus_->fingerprint() : examples_->fingerprint(); }
  const std::vector<std::string>& labels() const;
  /// A corpus with all it knows; nullptr for other files.
  const io::Corpus* corpus() const { return corpus_ ? &*corpus_ : nullptr; }

  /// Batches; evaluation from `split`. UserError if that part is missing or too short. This must outlive the source.
  std::unique_ptr<train::BatchSource> source(i64 seq_len, std::uint64_t seed, io::Split split) const;
  /// What a run should say about the examples that do not fit; empty if all do.
  static std::string note(const train::BatchSource& source);
  /// Where text samples start: `text`, or the first held-out tokens or source. Empty for classifiers and masked tokens.
  std::vector<std::int32_t> prompt(const std::string& text) const;

 private:
  std::string path_;
  std::optional<double> mask_share_;
  std::optional<io::Corpus> corpus_;
  std::optional<io::Examples> examples_;
};

/// Text of tokens of a task, special ones in words.
std::string decode_text(model::Task task, const io::Tokenizer& tokenizer, std::span<const std::int32_t> tokens);

}  // namespace pleiad::app
