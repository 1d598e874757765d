// Token corpora: HDF5 files of format pleiad-corpus/1 (docs/file_format.md), made from text files or by synth.hpp, read
// whole into memory by every rank; and which windows of them make a training or evaluation batch.
#pragma once
#include "pleiad/comm/communicator.hpp"
#include "pleiad/io/data_file.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace pleiad::io {

enum class Split { train, validation, test };  // corpora have no test part
const char* split_name(Split split);

// ---- making one ----

struct CorpusOptions {
  std::vector<std::string> files = {};  ///< text, concatenated in this order
  std::string out = {};
  TokenizerOptions tokenizer = {};
  double validation_fraction = 0.1;  ///< of the bytes, from the end; 0 to 0.9
  bool force = false;                ///< replace an existing output
};

/// Writes a corpus file, or leaves nothing behind. UserError for missing, unreadable or empty input and existing
/// output. One rank only.
void build_corpus(const CorpusOptions& options);

/// What a corpus file holds; for makers of corpora.
struct CorpusContent {
  struct Part {
    std::vector<std::int32_t> tokens = {};
    std::vector<std::uint8_t> domain = {};  ///< none, or one per token
    std::vector<float> entropy = {};        ///< none, or one per token: nats of this token given those before it
    i64 bytes = 0;                          ///< of text
  };
  Part train = {}, validation = {};
  Tokenizer tokenizer = {};
  std::vector<std::string> domains = {};  ///< their names
  std::vector<TextSource> sources = {};
  i64 window_alignment = 1;
  double validation_fraction = 0;
  std::string origin = {};      ///< "text" or "synthetic"
  std::string split_rule = {};  ///< one line
  std::string options = {};     ///< the options in force, key = value lines
};

/// Written under a temporary name, then renamed. One rank only.
void write_corpus(const CorpusContent& content, const std::string& out, bool force);

// ---- batches ----

/// Which windows make a batch: pure arithmetic on counts. A window is L = seq_len inputs and, one further on, their
/// targets.
class CorpusBatches {
 public:
  /// `tokens` in the training and validation part. UserError if a part is shorter than a window (validation may be
  /// empty).
  CorpusBatches(i64 train_tokens, i64 validation_tokens, i64 alignment, i64 seq_len, std::uint64_t seed);

  i64 seq_len() const { return seq_len_; }
  /// First token of global sequence `sequence` of training step `step`: uniform over the multiples of the alignment, a
  /// function of (seed, step, sequence) alone.
  i64 train_start(i64 step, i64 sequence) const;
  /// How many different windows training draws from.
  i64 train_windows() const { return train_windows_; }
  /// Evaluation windows do not overlap: their starts are 0, L, 2L, ...; a last partial one is dropped.
  i64 eval_windows(Split split = Split::validation) const {
    return tokens(split) > 0 ? (tokens(split) - 1) / seq_len_ : 0;
  }
  i64 eval_start(i64 window) const { return window * seq_len_; }
  /// Targets that no evaluation window covers.
  i64 eval_dropped(Split split = Split::validation) const;
  /// Windows begin where documents begin, so the stored entropies are the least loss a model can reach on them.
  bool whole_documents() const { return seq_len_ % alignment_ == 0; }

 private:
  i64 tokens(Split split) const { return split == Split::train ? train_tokens_ : validation_tokens_; }

  i64 train_tokens_, validation_tokens_, alignment_, seq_len_;
  std::uint64_t seed_;
  i64 train_windows_ = 0;
};

// ---- reading one ----

class Corpus {
 public:
  /// Every rank reads the file; UserError on all if one cannot or if they do not all see the same corpus. collective.
  static Corpus open(const comm::Communicator& comm, const std::string& path);
  /// The same for one process alone.
  static Corpus load(const std::string& path);

  const std::string& path() const { return path_; }
  i64 vocab() const { return vocab_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  i64 tokens(Split split) const { return part(split).count; }
  /// Length of the text in bytes, for nats per byte.
  i64 bytes(Split split) const { return part(split).bytes; }
  i64 window_alignment() const { return window_alignment_; }
  /// Stands for the content (tokens, domains, entropies, tokenizer): 16 hexadecimal digits.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::vector<std::string>& domain_names() const { return domain_names_; }
  bool has_domains() const { return !domain_names_.empty(); }
  bool has_entropy() const { return has_entropy_; }
  /// UserError unless the model's vocabulary is the corpus's.
  void require_vocab(i64 model_vocab) const;
  CorpusBatches batches(i64 seq_len, std::uint64_t seed) const;

  /// Tokens first .. first + out.size() - 1 of a part, and what belongs to them. pre: they lie within the part.
  void read_window(Split split, i64 first, std::span<std::int32_t> out) const;
  void read_domains(Split split, i64 first, std::span<std::int32_t> out) const;
  void read_entropy(Split split, i64 first, std::span<float> out) const;
  /// Mean stored entropy of a part in nats per token; of one domain where it is given.
  double mean_entropy(Split split, i64 domain = -1) const;

  /// Lines for `pleiad data info`.
  std::vector<std::string> describe() const;

 private:
  struct Part {
    std::variant<std::vector<std::uint16_t>, std::vector<std::int32_t>> tokens;
    std::vector<std::uint8_t> domain;
    std::vector<float> entropy;
    i64 count = 0, bytes = 0;
  };
  const Part& part(Split split) const { return split == Split::train ? train_ : validation_; }
  static Part read_part(const class H5File& file, Split split, i64 vocab, i64 domains, bool entropy);

  std::string path_, fingerprint_;
  i64 vocab_ = 0, window_alignment_ = 1;
  bool has_entropy_ = false;
  Tokenizer tokenizer_;
  std::vector<std::string> domain_names_, provenance_;
  Part train_, validation_;
};

}  // namespace pleiad::io
