// What makers and readers of data files (corpus.hpp, examples.hpp) have in common: text files in, where the data came from, the tokenizer.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pleiad/comm/agree.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/tokenizer.hpp"

namespace pleiad::io {

inline constexpr const char* k_corpus_format = "pleiad-corpus/1";
inline constexpr const char* k_examples_format = "pleiad-examples/1";

/// A text file that data were made from.
struct TextSource {
  std::string name, sha256;  ///< base name
  i64 bytes = 0;
};

/// How text becomes tokens; sentencepiece is trained on the training part.
struct TokenizerOptions {
  std::string kind = "bytes";  ///< or sentencepiece
  SentencePieceOptions sentencepiece = {};
  std::optional<Tokenizer> given = {};  ///< this one, in place of all that
  /// UserError if the kind is unknown.
  void check() const;
  /// `training_text` is asked only for a tokenizer that must be trained.
  Tokenizer make(const std::function<std::string()>& training_text) const;
  /// key = value lines.
  std::string words() const;
};

/// A file under its temporary name: published whole, or removed.
class Unfinished {
 public:
  /// UserError if `out` is a folder, cannot be written, or exists and may not be replaced.
  Unfinished(std::string out, bool force);
  ~Unfinished();
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  const std::string& path() const { return path_; }
  /// Renames to `out`. The file must be closed.
  void publish();

 private:
  std::string out_, path_;
};

/// The whole file, noted in `sources`. UserError if it is missing, a folder, unreadable, or the same file as `out`.
std::string read_text_file(const std::string& path, const std::string& out, std::vector<TextSource>& sources);

/// Format, tokenizer, sources, options, version and date.
void write_making(H5File& file, const std::string& format, const Tokenizer& tokenizer, const std::vector<TextSource>& sources, const std::string& options);
Tokenizer read_tokenizer(const H5File& file);
/// Its format, k_corpus_format or k_examples_format; UserError for any other file.
std::string require_data_format(const H5File& file);
/// UserError if what the checksums of the file cover is not what was written; a file that was made by something else may have none.
void verify_content(const H5File& file);
/// What the file says about its making, one line each.
std::vector<std::string> provenance(const H5File& file);

/// DataFile::load(path) by every rank for itself; `what` names the file in messages. UserError on all ranks if one of them fails or has other
/// content than the others. collective.
template <class DataFile>
DataFile load_on_all(const comm::Communicator& comm, const std::string& path, const std::string& what) {
  std::optional<DataFile> loaded;
  comm::agree_on(comm, [&] { loaded = DataFile::load(path); });
  comm::require_same(comm, loaded->fingerprint(), "the content of " + what);
  return std::move(*loaded);
}

}  // namespace pleiad::io
