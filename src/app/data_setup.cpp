#include "pleiad/app/data_setup.hpp"

#include <unistd.h>

#include <filesystem>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

namespace {

/// A copy of a file on every node, made by one rank of each and removed with this object.
class NodeCopy {
 public:
  /// UserError on all ranks. collective.
  NodeCopy(const comm::Communicator& world, const std::string& path, const std::string& folder) : node_(world.node()) {
    namespace fs = std::filesystem;
    if (node_.root()) path_ = fmt::format("{}/pleiad-{}-{}.h5", folder, getpid(), world.rank());
    comm::agree_on(world, [&] {
      if (!node_.root()) return;
      std::error_code error;
      if (!fs::is_directory(folder, error)) user_error("--scratch {}: there is no such folder on this node", folder);
      fs::copy_file(path, path_, error);
      if (error) {
        fs::remove(path_, error);
        user_error("--scratch {}: {} cannot be copied there ({})", folder, path, error.message());
      }
    });
    path_ = comm::broadcast(node_, path_);
  }
  ~NodeCopy() {
    std::error_code ignored;
    if (node_.root()) std::filesystem::remove(path_, ignored);
  }
  NodeCopy(const NodeCopy&) = delete;
  NodeCopy& operator=(const NodeCopy&) = delete;
  const std::string& path() const { return path_; }
  /// Until every rank of the node has read it. collective.
  void wait() const { comm::barrier(node_); }

 private:
  comm::Communicator node_;
  std::string path_;
};

}  // namespace

Data Data::open(const comm::Communicator& world, const std::string& original, std::optional<double> mask_share, const std::string& scratch) {
  std::optional<NodeCopy> copy;
  if (!scratch.empty()) copy.emplace(world, original, scratch);
  const std::string& path = copy ? copy->path() : original;
  std::string format;
  const io::H5File file = io::open_for_all(world, path);
  comm::agree_on(world, [&] {
    format = io::require_data_format(file);
  });
  Data data;
  data.path_ = original;
  data.mask_share_ = mask_share;
  if (format == io::k_corpus_format) {
    data.corpus_ = io::Corpus::open(world, path);
  } else {
    data.examples_ = io::Examples::open(world, path);
  }
  if (copy) copy->wait();
  return data;
}

DataShape Data::shape() const {
  if (corpus_ && mask_share_) return {io::mask_token(tokenizer()) + 1, model::Task::masked_lm, 0};
  if (corpus_) return {corpus_->vocab(), model::Task::lm, 0};
  return {examples_->vocab(), examples_->task(), static_cast<i64>(examples_->labels().size())};
}

const std::vector<std::string>& Data::labels() const {
  static const std::vector<std::string> none;
  return examples_ ? examples_->labels() : none;
}

std::unique_ptr<train::BatchSource> Data::source(i64 seq_len, std::uint64_t seed, io::Split split) const {
  if (examples_) return std::make_unique<io::ExampleSource>(*examples_, seq_len, seed, split);
  if (split == io::Split::test) user_error("{}: a corpus has the parts train and validation, but no test part", path_);
  std::optional<io::TokenMasking> masking;
  if (mask_share_) masking.emplace(tokenizer(), *mask_share_, seed);
  return std::make_unique<io::CorpusSource>(*corpus_, seq_len, seed, split, masking);
}

std::string Data::note(const train::BatchSource& source) {
  const auto* examples = dynamic_cast<const io::ExampleSource*>(&source);
  return examples ? examples->note() : "";
}

std::vector<std::int32_t> Data::prompt(const std::string& text) const {
  if (!model::predicts_next(shape().task)) return {};
  if (examples_) {
    std::vector<std::int32_t> source = text.empty() ? std::vector<std::int32_t>() : tokenizer().encode(text);
    if (text.empty()) source.assign(examples_->input(io::Split::validation, 0).begin(), examples_->input(io::Split::validation, 0).end());
    source.push_back(io::separator_token(tokenizer()));
    return source;
  }
  if (!text.empty()) return tokenizer().encode(text);
  const io::Split split = corpus_->tokens(io::Split::validation) > 0 ? io::Split::validation : io::Split::train;
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(std::min<i64>(32, corpus_->tokens(split))));
  corpus_->read_window(split, 0, prompt);
  return prompt;
}

std::string decode_text(model::Task task, const io::Tokenizer& tokenizer, std::span<const std::int32_t> tokens) {
  return task == model::Task::seq2seq ? io::decode_pair(tokenizer, tokens) : tokenizer.decode(tokens);
}

}  // namespace pleiad::app
