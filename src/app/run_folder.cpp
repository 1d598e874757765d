#include "pleiad/app/run_folder.hpp"

#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "pleiad/comm/agree.hpp"
#include "pleiad/comm/collectives.hpp"
#include "pleiad/core/error.hpp"
#include "pleiad/io/checkpoint_h5.hpp"
#include "pleiad/io/run_marker.hpp"

namespace pleiad::app {

namespace {

constexpr double k_patience = 5;  // seconds: ranks that were told to stop outlive their launcher while they save

}  // namespace

void make_run_folder(const comm::Communicator& world, const std::string& out) {
  namespace fs = std::filesystem;
  const bool checkpoints = !io::newest_checkpoint(world, out + "/checkpoints").empty();
  std::string problem;
  if (world.root()) {
    std::error_code error;
    if (fs::exists(out + "/run.h5", error) || checkpoints) {
      problem = fmt::format("--out {}: already holds a run; choose another folder, or continue it with --resume", out);
    } else {
      fs::create_directories(out, error);
      if (error) {
        problem = fmt::format("--out {}: cannot be created ({})", out, error.message());
      } else if (access(out.c_str(), W_OK) != 0) {
        problem = fmt::format("--out {}: cannot be written to ({})", out, std::strerror(errno));
      }
    }
  }
  comm::agree(world, comm::broadcast(world, problem));
}

RunLock::RunLock(const comm::Communicator& world, const std::string& run) : world_(world), run_(run) {
  comm::agree_on_root(world, [&] {
    lock_ = FileLock(run + "/log.txt", run + ": another process is writing this run at this moment", k_patience);
  });
}

void RunLock::forget_marker() const {
  comm::agree_on_root(world_, [&] { io::remove_marker(run_); });
}

}  // namespace pleiad::app
