#include "pleiad/app/same_run.hpp"

#include <filesystem>
#include <iostream>

#include "pleiad/app/config.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/run_record.hpp"

namespace pleiad::app {

namespace {

/// Keys that may differ when a run is continued: where it runs and what it reports, not what it computes.
bool may_change(const std::string& key) {
  for (const char* prefix : {"parallel.", "exchange.", "checkpoint.", "metrics.", "train.eval_", "train.sample_", "train.steps", "train.bad_", "data."}) {
    if (key.starts_with(prefix)) return true;
  }
  return false;
}

/// What the record tells; nothing where there is none or it cannot be read, as weights are good without it. collective.
io::RunTale tale_of(const comm::Communicator& world, const std::string& record) {
  io::RunTale tale;
  if (world.root() && std::filesystem::exists(record)) {
    try {
      tale = io::read_run_tale(record);
    } catch (const UserError& e) {
      std::cerr << fmt::format("pleiad: note: {}: whether the checkpoint is one of this run is not known", e.what()) << std::endl;
    }
  }
  return {comm::broadcast(world, tale.config), comm::broadcast(world, tale.corpus_fingerprint), comm::max_over<i64>(world, tale.saved)};
}

}  // namespace

std::optional<Difference> forbidden_change(const std::string& run_config, const std::string& name, const std::map<std::string, std::string>& now,
                                           const std::map<std::string, std::string>& given) {
  std::optional<Difference> found;
  for (const auto& [key, was] : Config::parse(run_config, name).given()) {
    const auto it = now.find(key);
    if (it == now.end() || it->second == was || may_change(key)) continue;
    if (!found || (given.count(key) && !given.count(found->key))) found = Difference{key, was, it->second};
  }
  return found;
}

void require_of_run(const std::string& checkpoint, const io::CheckpointInfo& info, const std::string& config, const std::string& corpus) {
  if (!corpus.empty() && corpus != info.corpus_fingerprint) {
    user_error("'{}': is not a checkpoint of this run: its corpus has the fingerprint {}, the run's has {}: move it away", checkpoint, info.corpus_fingerprint, corpus);
  }
  if (const auto d = forbidden_change(config, checkpoint, Config::parse(info.config, checkpoint).given())) {
    user_error("'{}': is not a checkpoint of this run: {} = {}, the run's is {}: move it away", checkpoint, d->key, d->now, d->was);
  }
}

std::string find_checkpoint(const comm::Communicator& world, const std::string& path) {
  i64 folder = world.root() && std::filesystem::is_directory(path);
  folder = comm::max_over<i64>(world, folder);
  if (!folder) return path;
  std::vector<std::string> passed_over;
  const auto say = [&](const std::string& note) {
    if (world.root()) std::cerr << "pleiad: note: " << note << std::endl;
  };
  std::string found = io::newest_whole_checkpoint(world, path + "/checkpoints", passed_over);
  const bool of_run = !found.empty();
  if (!of_run) found = io::newest_whole_checkpoint(world, path, passed_over);
  for (const std::string& problem : passed_over) say(fmt::format("passed over a checkpoint: {}; {} is taken", problem, found));
  if (found.empty()) user_error("{}: there is no checkpoint (checkpoints/step-*.h5) in this folder", path);
  if (!of_run) return found;
  const io::RunTale tale = tale_of(world, path + "/run.h5");
  const io::CheckpointInfo info = io::read_checkpoint_info(world, found);
  require_of_run(found, info, tale.config, tale.corpus_fingerprint);
  if (tale.saved > info.step && passed_over.empty()) say(fmt::format("the checkpoint of step {} is gone: {} is taken", tale.saved, found));
  return found;
}

}  // namespace pleiad::app
