// Example files, format pleiad-examples/1 (docs/file_format.md): labelled texts for classifiers, or pairs of source and target for sequence
// to sequence; with the tokenizer inside, read whole into memory by every rank. Batches out of them: example_source.hpp.
#pragma once
#include "pleiad/comm/communicator.hpp"
#include "pleiad/io/corpus.hpp"
#include "pleiad/model/model.hpp"

namespace pleiad::io {

// ---- making them ----

/// Tab-separated lines: one column is the text, one the label.
struct LabelledOptions {
  std::string train = {}, validation = {}, test = {};  ///< test may be empty
  i64 text_column = 1, label_column = 2;               ///< counted from 1
  bool header = false;                                 ///< the first line of each file names columns
  TokenizerOptions tokenizer = {};
  std::string out = {};
  bool force = false;
};

/// Two files of as many lines: line i of the target translates line i of the source.
struct PairFiles {
  std::string source = {}, target = {};
};
struct PairOptions {
  PairFiles train = {}, validation = {}, test = {};  ///< test may be empty
  TokenizerOptions tokenizer = {};                   ///< one for both sides
  std::string out = {};
  bool force = false;
};

/// Lines without text are left out and counted in the file's options. UserError names file and line. One rank only.
void build_labelled(const LabelledOptions& options);
void build_pairs(const PairOptions& options);

// ---- reading them ----

class Examples {
 public:
  /// Every rank reads the file; UserError on all if one cannot or if they do not all see the same. collective.
  static Examples open(const comm::Communicator& comm, const std::string& path);
  static Examples load(const std::string& path);

  model::Task task() const { return labels_.empty() ? model::Task::seq2seq : model::Task::classifier; }
  const std::string& path() const { return path_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::string& fingerprint() const { return fingerprint_; }
  /// Of the tokenizer, and for pairs two more: the end of the source and the end of the target.
  i64 vocab() const { return tokenizer_.vocab() + (labels_.empty() ? 2 : 0); }
  const std::vector<std::string>& labels() const { return labels_; }

  i64 count(Split split) const { return static_cast<i64>(part(split).input.offset.size()) - 1; }
  std::span<const std::int32_t> input(Split split, i64 example) const { return part(split).input.at(example); }
  std::span<const std::int32_t> target(Split split, i64 example) const { return part(split).target.at(example); }
  std::int32_t label(Split split, i64 example) const { return part(split).label[example]; }

  /// Lines for `pleiad data info`.
  std::vector<std::string> describe() const;

 private:
  struct Lists {
    std::vector<i64> offset{0};
    std::vector<std::int32_t> token;
    std::span<const std::int32_t> at(i64 i) const { return std::span(token).subspan(offset[i], offset[i + 1] - offset[i]); }
  };
  struct Part {
    Lists input, target;
    std::vector<std::int32_t> label;
  };
  const Part& part(Split split) const { return parts_[static_cast<int>(split)]; }
  friend class ExampleWriter;
  static Lists read_lists(const H5File& file, const std::string& name, i64 vocab);

  std::string path_, fingerprint_;
  Tokenizer tokenizer_;
  std::vector<std::string> labels_, provenance_;
  Part parts_[3];  // by Split
};

/// Tokens that stand for the end of the source and of the target, after those of the tokenizer.
inline std::int32_t separator_token(const Tokenizer& t) { return static_cast<std::int32_t>(t.vocab()); }
inline std::int32_t end_token(const Tokenizer& t) { return static_cast<std::int32_t>(t.vocab()) + 1; }
/// A source and what was made of it, as text: source => target.
std::string decode_pair(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens);

}  // namespace pleiad::io
