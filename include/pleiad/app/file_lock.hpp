// A lock that one process at a time can hold, on a file made for it; the system lets go of it when the process ends, however that happens.
#pragma once
#include <string>

namespace pleiad::app {

class FileLock {
 public:
  FileLock() = default;
  /// Makes `path` if it is not there. UserError if that fails, and with the message `held` if another process holds the lock for `patience`
  /// seconds; a file system without locks is no reason to stop.
  FileLock(const std::string& path, const std::string& held, double patience = 0);
  /// The same, but no lock where `path` is not there or may not be written.
  static FileLock of_existing(const std::string& path, const std::string& held, double patience);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  explicit operator bool() const { return file_ >= 0; }

 private:
  void wait(const std::string& held, double patience);

  int file_ = -1;
};

}  // namespace pleiad::app
