#include "pleiad/core/temporary_folder.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>

#include "pleiad/core/error.hpp"

namespace pleiad {
namespace {

namespace fs = std::filesystem;

void fill(const TemporaryFolder& folder) {
  fs::create_directories(folder.file("a folder/in it"));
  std::ofstream(folder.file("a folder/in it/file")) << "text";
}

/// How a copy of this process ends that does `action`; -1 if it could not be made.
template <typename Action>
int status_of_copy(Action action) {
  const pid_t copy = fork();
  if (copy == 0) {
    action();
    _exit(0);
  }
  int status = -1;
  return copy > 0 && waitpid(copy, &status, 0) == copy ? status : -1;
}

TEST(TemporaryFolder, GoesWithAllThatIsInIt) {
  std::optional<TemporaryFolder> folder(std::in_place);
  const std::string path = folder->path();
  fill(*folder);
  EXPECT_TRUE(fs::is_directory(path));
  folder.reset();
  EXPECT_FALSE(fs::exists(path));
}

TEST(TemporaryFolder, SaysWhereNoneCanBeMade) { EXPECT_THROW(TemporaryFolder("/dev/null"), UserError); }

TEST(TemporaryFolder, IsLeftAloneByACopyOfTheProcess) {
  const TemporaryFolder folder;
  const int ended = status_of_copy([&] { const_cast<TemporaryFolder&>(folder).~TemporaryFolder(); });
  EXPECT_TRUE(WIFEXITED(ended));
  const int killed = status_of_copy([] { raise(SIGTERM); });
  EXPECT_TRUE(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGTERM);
  EXPECT_TRUE(fs::is_directory(folder.path()));
}

TEST(TemporaryFolder, GoesBeforeASignalEndsTheProcess) {
  const TemporaryFolder base;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const int status = status_of_copy([&] {
      const TemporaryFolder one(base.path()), other(base.path());
      fill(one);
      fill(other);
      raise(signal);
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    EXPECT_TRUE(fs::is_empty(base.path()));
  }
}

TEST(TemporaryFolder, LeavesSignalsToWhoeverHandlesThem) {
  const int status = status_of_copy([] {
    std::signal(SIGTERM, SIG_IGN);
    std::optional<TemporaryFolder> folder(std::in_place);
    raise(SIGTERM);
    const bool there = fs::is_directory(folder->path());
    folder.reset();
    _exit(there ? 3 : 4);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

}  // namespace
}  // namespace pleiad
