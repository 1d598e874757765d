#include "pleiad/app/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "pleiad/core/clock.hpp"
#include "pleiad/core/error.hpp"

namespace pleiad::app {

FileLock::FileLock(const std::string& path, const std::string& held, double patience) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);  // a pipe may stand there, which nobody reads
  if (file_ < 0) user_error("{}: cannot be written ({})", path, std::strerror(errno));
  wait(held, patience);
}

FileLock FileLock::of_existing(const std::string& path, const std::string& held, double patience) {
  FileLock lock;
  lock.file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
  if (lock) lock.wait(held, patience);
  return lock;
}

void FileLock::wait(const std::string& held, double patience) {
  const Stopwatch watch;
  do {
    if (::flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } while (watch.seconds() < patience);
  ::close(std::exchange(file_, -1));
  throw UserError(held);
}

FileLock::FileLock(FileLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace pleiad::app
