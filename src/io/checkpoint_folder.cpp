// The folder of a run's checkpoints: which are there, which stay.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <limits>
#include <map>
#include <sstream>

#include "checkpoint_parts.hpp"
#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/io/checkpoint_h5.hpp"

namespace pleiad::io {

namespace {

std::string name_of_step(i64 step) { return fmt::format("step-{:010d}.h5", step); }

namespace fs = std::filesystem;

/// Ascending by step; none if there is no folder. UserError if it cannot be read.
std::vector<fs::path> checkpoints_in(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  if (!fs::exists(fs::symlink_status(folder, error))) {
    if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) user_error("'{}': cannot be read ({})", folder, error.message());
    return files;
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".h5") && !detail::is_part(name)) files.push_back(entry.path());
  }
  if (error) user_error("'{}': cannot be read ({})", folder, error.message());
  std::ranges::sort(files);  // numbers are zero-padded
  return files;
}

/// The held-out loss that a checkpoint says its weights have; infinite if none was measured or the file cannot be read.
double loss_of(const fs::path& path) {
  try {
    const H5File file = H5File::open(path.string());
    if (file.has_attribute("/", "validation_loss")) return file.number("/", "validation_loss");
  } catch (const UserError&) {
  }
  return std::numeric_limits<double>::infinity();
}

/// Removes all but the newest `keep` and the best.
void remove_old(const std::vector<fs::path>& all, i64 keep) {
  if (keep == 0 || static_cast<i64>(all.size()) <= keep) return;
  std::vector<double> loss;
  for (const fs::path& path : all) loss.push_back(loss_of(path));
  const std::size_t best = static_cast<std::size_t>(std::ranges::min_element(loss) - loss.begin());
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < all.size(); ++i) {
    if (i != best || std::isinf(loss[i])) fs::remove(all[i]);  // its parts: remove_left_over()
  }
}

/// The parts that a checkpoint names, as paths; none if it cannot be read.
std::vector<std::string> parts_of(const fs::path& path) {
  try {
    return detail::Parts::of(H5File::open(path.string())).files();
  } catch (const UserError&) {
    return {};
  }
}

/// Removes what kills during earlier saves left behind, and parts that no checkpoint names. Those of a checkpoint that cannot be read, or is one file, stay.
void remove_left_over(const std::string& folder) {
  std::vector<fs::path> gone;
  std::map<fs::path, std::vector<fs::path>> parts;  // by the checkpoint that they belong to, if it is there
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension().string() == temporary_name("")) gone.push_back(entry.path());
    else if (detail::is_part(name)) parts[fs::path(folder) / (name.substr(0, name.find('.')) + ".h5")].push_back(entry.path());
  }
  for (const auto& [checkpoint, files] : parts) {
    const bool there = fs::exists(checkpoint);
    const std::vector<std::string> named = there ? parts_of(checkpoint) : std::vector<std::string>{};
    if (there && named.empty()) continue;
    const auto is_named = [&](const fs::path& file) { return std::ranges::any_of(named, [&](const std::string& part) { return fs::path(part).filename() == file.filename(); }); };
    std::ranges::remove_copy_if(files, std::back_inserter(gone), is_named);
  }
  for (const fs::path& path : gone) fs::remove(path);
}

/// UserError if something else than files has the names of checkpoints: a save would fail only hours from now.
void require_files(const std::string& folder) {
  if (!fs::is_directory(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with("step-") && (entry.path().extension() == ".h5" || entry.path().extension().string() == temporary_name(""));
    if (ours && entry.is_directory()) user_error("'{}': is a folder and has the name of a checkpoint: move it away", entry.path().string());
  }
}

}  // namespace

CheckpointFolder::CheckpointFolder(const comm::ProcessGrid& grid, std::string folder, i64 keep, CheckpointInfo info, CheckpointFiles files)
    : grid_(grid), folder_(std::move(folder)), keep_(keep), info_(std::move(info)) {
  comm::agree_on_root(grid.world(), [&] { require_files(folder_); });
  if (files == CheckpointFiles::per_node) node_.emplace(grid.world().node());
}

i64 CheckpointFolder::save(const train::TrainState& state) {
  const comm::Communicator& world = grid_.world();
  const std::string path = folder_ + "/" + name_of_step(state.step);
  comm::agree_on_root(world, [&] {
    fs::create_directories(folder_);
    remove_left_over(folder_);
  });
  info_.step = state.step;
  info_.batches_passed_over = state.batches_passed_over;
  info_.bad_steps = state.bad_steps;
  info_.validation_loss = state.validation_loss;
  write_checkpoint(grid_, path, info_, state.params, &state.adam, node_ ? &*node_ : nullptr);

  i64 size = 0;
  comm::agree_on_root(world, [&] {
    size = static_cast<i64>(fs::file_size(path));
    for (const std::string& part : parts_of(path)) size += static_cast<i64>(fs::file_size(part));
    std::vector<fs::path> all = checkpoints_in(folder_);  // only once the new one is safe
    std::erase_if(all, [&](const fs::path& file) { return file.filename() > name_of_step(state.step); });  // passed over, and nothing that others must make room for
    remove_old(all, keep_);
    remove_left_over(folder_);
  });
  return comm::max_over<i64>(world, size);
}

std::string newest_checkpoint(const std::string& folder) {
  const std::vector<fs::path> all = checkpoints_in(folder);
  return all.empty() ? "" : all.back().string();
}

std::string newest_checkpoint(const comm::Communicator& comm, const std::string& folder) {
  std::string newest;
  comm::agree_on_root(comm, [&] { newest = newest_checkpoint(folder); });
  return comm::broadcast(comm, newest);
}

std::string checkpoint_before(const std::string& folder, i64 step) {
  std::vector<fs::path> all = checkpoints_in(folder);
  std::erase_if(all, [&](const fs::path& file) { return file.filename() >= name_of_step(step); });
  return all.empty() ? "" : all.back().string();
}

std::string newest_whole_checkpoint(const comm::Communicator& comm, const std::string& folder, std::vector<std::string>& passed_over) {
  std::string list;
  comm::agree_on_root(comm, [&] {
    for (const fs::path& path : checkpoints_in(folder)) list += path.string() + "\n";
  });
  std::istringstream in(comm::broadcast(comm, list));
  std::vector<std::string> all;
  for (std::string path; std::getline(in, path);) all.push_back(path);
  for (; !all.empty(); all.pop_back()) {
    try {
      const i64 step = read_checkpoint_info(comm, all.back()).step;
      if (fs::path(all.back()).filename() != name_of_step(step)) user_error("'{}' holds step {}, not the one of its name", all.back(), step);
      verify_checkpoint(comm, all.back());
      return all.back();
    } catch (const UserError& e) {
      passed_over.push_back(e.what());
    }
  }
  if (!passed_over.empty()) user_error("{}; no older checkpoint is whole", passed_over.front());
  return "";
}

}  // namespace pleiad::io
