#include "pleiad/core/temporary_folder.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "pleiad/core/error.hpp"

namespace pleiad {

namespace {

/// Paths of the folders that a signal takes along, each inside its object; one for which there is no room is left behind.
std::array<std::atomic<const char*>, 64> folders = {};
std::atomic<pid_t> owner_of_folders = 0;

/// The rm of the system does it: a handler may neither allocate nor walk through folders, but it may start a program. Not fork(), which would first
/// end the threads of libraries that have asked for that.
void remove_folders_and_end(int signal) {
  for (std::atomic<const char*>& folder : folders) {
    const char* path = folder.exchange(nullptr);
    if (!path || getpid() != owner_of_folders) continue;
    const pid_t child = _Fork();
    if (child == 0) {
      execl("/bin/rm", "rm", "-rf", "--", path, nullptr);
      _exit(1);
    }
    if (child > 0) waitpid(child, nullptr, 0);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);  // ends the process when this handler returns
}

void handle_signals() {
  for (const int s : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction now = {};
    if (sigaction(s, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    now.sa_handler = remove_folders_and_end;
    sigaction(s, &now, nullptr);
  }
}

}  // namespace

TemporaryFolder::TemporaryFolder(const std::string& base) : owner_(getpid()) {
  const char* usual = std::getenv("TMPDIR");
  path_ = (!base.empty() ? base : usual && *usual ? usual : "/tmp") + "/pleiad-XXXXXX";
  handle_signals();
  if (!::mkdtemp(path_.data())) user_error("cannot make the temporary folder {}: {} (TMPDIR names another place)", path_, std::strerror(errno));
  if (owner_of_folders.exchange(owner_) != owner_) {
    for (std::atomic<const char*>& folder : folders) folder = nullptr;  // of the process that this one is a copy of
  }
  for (std::atomic<const char*>& folder : folders) {
    const char* nothing = nullptr;
    if (folder.compare_exchange_strong(nothing, path_.c_str())) break;
  }
}

TemporaryFolder::~TemporaryFolder() {
  for (std::atomic<const char*>& folder : folders) {
    const char* own = path_.c_str();
    if (folder.compare_exchange_strong(own, nullptr)) break;
  }
  if (getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace pleiad
