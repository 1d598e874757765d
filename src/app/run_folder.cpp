#include "pleiad/app/run_folder.hpp"

#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "pleiad/comm/agree.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/io/run_marker.hpp"

namespace pleiad::app {

namespace {

constexpr double k_patience = 5;  // seconds: ranks that were told to stop outlive their launcher while they save

std::string held_by_another(const std::string& run) { return run + ": another process is writing this run at this moment"; }

}  // namespace

RunLock::RunLock(const comm::Communicator& world, const std::string& run, bool go_on) : world_(world), run_(run), go_on_(go_on) {
  comm::agree_on_root(world, [&] {
    if (!run.empty()) lock_ = FileLock::of_existing(run + "/log.txt", held_by_another(run), k_patience);
  });
}

void RunLock::make_folder() {
  namespace fs = std::filesystem;
  refuse_run();
  comm::agree_on_root(world_, [&] {
    std::error_code error;
    if (fs::is_symlink(run_, error) && !fs::exists(run_, error)) user_error("--out {}: is a symbolic link to {}, which is not there", run_, fs::read_symlink(run_).string());
    fs::create_directories(run_, error);
    if (error) user_error("--out {}: cannot be created ({})", run_, error.message());
    if (access(run_.c_str(), W_OK) != 0) user_error("--out {}: cannot be written to ({})", run_, std::strerror(errno));
    take();
  });
  refuse_run();  // of a process that began at the same time and had it until now
}

void RunLock::begin() {
  comm::agree_on_root(world_, [&] {
    take();
    io::remove_marker(run_);
  });
}

void RunLock::take() {
  if (!lock_) lock_ = FileLock(run_ + "/log.txt", held_by_another(run_), k_patience);
}

void RunLock::refuse_run() const {
  const bool checkpoints = !io::newest_checkpoint(world_, run_ + "/checkpoints").empty();
  comm::agree_on_root(world_, [&] {
    std::error_code error;
    if (checkpoints || std::filesystem::exists(run_ + "/run.h5", error)) {
      // There was none when this process looked.
      if (go_on_) user_error("--continue: --out {}: another process began this run at the same moment; the same command goes on with it", run_);
      user_error("--out {}: already holds a run; choose another folder, or continue it with --resume", run_);
    }
  });
}

}  // namespace pleiad::app
