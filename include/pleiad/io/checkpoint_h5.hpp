// Checkpoints: HDF5 files of format pleiad-checkpoint/2 (docs/file_format.md), written in parallel under a temporary name, then
// renamed, with a checksum of everything in them. Every expert stands under its global number, so any number of ranks can read them.
#pragma once
#include <map>
#include <optional>

#include "pleiad/comm/grid.hpp"
#include "pleiad/io/h5.hpp"
#include "pleiad/io/tokenizer.hpp"
#include "pleiad/model/model.hpp"
#include "pleiad/train/checkpoint.hpp"

namespace pleiad::io {

inline constexpr const char* k_checkpoint_format = "pleiad-checkpoint/2";

/// What a checkpoint says beside its numbers.
struct CheckpointInfo {
  i64 step = 0;
  std::optional<double> validation_loss = {};  ///< held-out loss of its weights, nats
  i64 vocab = 0;
  std::string config;              ///< resolved, INI form
  Tokenizer tokenizer;
  std::string corpus_fingerprint;  ///< of the data it was trained on
  model::Task task = model::Task::lm;
  std::vector<std::string> labels = {};  ///< of a classifier
  std::string init_checkpoint = {};      ///< base name of the file its run started from; empty: random weights
  i64 init_step = 0;                     ///< updates that one had done
  i64 batches_passed_over = 0, bad_steps = 0;  ///< as in train::TrainState
  /// Notes that the run starts from the weights in file `path`, which `updates` updates made.
  void start_from(const std::string& path, i64 updates);
};

/// One file, which all ranks write together; or for file systems where that is slow one of each node with its experts, and one that names these.
enum class CheckpointFiles { one, per_node };

class CheckpointFolder : public train::CheckpointStore {
 public:
  /// Saves step-N.h5 into `folder` (made on demand) and keeps the newest `keep` of them and the one with the least held-out loss. grid must outlive
  /// this. collective.
  CheckpointFolder(const comm::ProcessGrid& grid, std::string folder, i64 keep, CheckpointInfo info,
                   CheckpointFiles files = CheckpointFiles::one);
  i64 save(const train::TrainState& state) override;

 private:
  const comm::ProcessGrid& grid_;
  std::string folder_;
  i64 keep_;
  CheckpointInfo info_;
  std::optional<comm::Communicator> node_;  // of per_node
};

/// Numbers of experts that are packed, written and checksummed at a time: they stay in the cache, and need little memory.
inline constexpr i64 k_packed_at_once = i64{1} << 21;

/// One checkpoint, without moments if `adam` is null; info.step is its step. With `node`, the ranks that share a file for their experts, it has parts, beside
/// `path`. Replaces `path` only once it is whole. collective.
void write_checkpoint(const comm::ProcessGrid& grid, const std::string& path, const CheckpointInfo& info, ParamSet& params, train::Adam* adam,
                      const comm::Communicator* node = nullptr);
/// UserError on all ranks unless all its checksums agree, parts included. collective.
void verify_checkpoint(const comm::Communicator& comm, const std::string& path);
/// Path of the newest checkpoint in a folder; empty if there is none. UserError for a folder that cannot be read. Local.
std::string newest_checkpoint(const std::string& folder);
/// The same before a step. Local.
std::string checkpoint_before(const std::string& folder, i64 step);
/// The newest one; rank 0 looks, all get the answer, or the error. collective.
std::string newest_checkpoint(const comm::Communicator& comm, const std::string& folder);
/// The newest checkpoint in a folder that can be read and whose checksums agree; `passed_over` says what is wrong with those that are newer. Empty if there
/// is no checkpoint at all; UserError if there are some and none is whole. collective.
std::string newest_whole_checkpoint(const comm::Communicator& comm, const std::string& folder, std::vector<std::string>& passed_over);
/// UserError on all ranks for a missing, foreign, damaged or incomplete file. collective.
CheckpointInfo read_checkpoint_info(const comm::Communicator& comm, const std::string& path);
/// Values, and with `adam` also moments; sets nothing else. UserError for a file whose checksums do not agree, before anything is set, or that names the first parameter that the file or the model lacks
/// or that has another shape, or if moments are wanted and missing. collective.
void load_checkpoint(const comm::ProcessGrid& grid, const std::string& path, ParamSet& params, train::Adam* adam);
/// What a model of another task can take: all but the head, and of the embedding the rows of the first `tokens` tokens. The rest keeps its values.
/// Otherwise as load_checkpoint. collective.
void load_trunk(const comm::ProcessGrid& grid, const std::string& path, i64 tokens, ParamSet& params);

}  // namespace pleiad::io
