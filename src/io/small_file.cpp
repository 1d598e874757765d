#include "pleiad/io/small_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "pleiad/core/error.hpp"
#include "pleiad/io/h5.hpp"

namespace pleiad::io {

namespace {

/// Says what errno says, and leaves nothing of the file that was to become `path`.
[[noreturn]] void cannot_write(const std::string& path) {
  const int problem = errno;
  ::unlink(temporary_name(path).c_str());
  user_error("{}: cannot be written ({})", path, std::strerror(problem));
}

/// read(), which waits for who writes to a pipe, but not for somebody to begin with it.
ssize_t read_some(int file, char* buffer, std::size_t size) {
  for (;;) {
    const ssize_t count = ::read(file, buffer, size);
    if (count >= 0 || errno != EAGAIN) return count;
    pollfd more = {file, POLLIN, 0};
    if (::poll(&more, 1, -1) < 0) return -1;
  }
}

/// 0, or the error number. A device, which may have no end, is none to read.
int read_once(const std::string& path, std::string& text) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return errno;
  struct stat status = {};
  if (::fstat(file, &status) != 0 || S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    ::close(file);
    return EINVAL;
  }
  text.clear();
  char buffer[65536];
  ssize_t count = 0;
  while ((count = read_some(file, buffer, sizeof(buffer))) > 0) text.append(buffer, static_cast<std::size_t>(count));
  const int problem = count < 0 ? errno : 0;
  ::close(file);
  return problem;
}

}  // namespace

bool is_pipe_or_device(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

bool read_whole(const std::string& path, std::string& text) {
  // ESTALE: the file was replaced while a network file system still had the old one open.
  for (int attempt = 0; attempt < 5; ++attempt) {
    const int problem = read_once(path, text);
    errno = problem;  // for who says why
    if (problem != ESTALE && problem != EINTR) return problem == 0;
  }
  return false;
}

void replace_whole(const std::string& path, const std::string& text, bool durable) {
  const std::string partial = temporary_name(path);
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) cannot_write(path);
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int problem = errno;
      ::close(file);
      errno = problem;
      cannot_write(path);
    }
    done += static_cast<std::size_t>(count);
  }
  if (::close(file) != 0) cannot_write(path);
  if (durable) {
    publish(partial, path);
  } else if (std::rename(partial.c_str(), path.c_str()) != 0) {
    cannot_write(path);
  }
}

void write_output(const std::string& option, const std::string& path, const std::string& text) {
  std::error_code none;
  if (!is_pipe_or_device(path) && !std::filesystem::is_symlink(path, none)) {
    try {
      return replace_whole(path, text, false);
    } catch (const UserError& e) {
      user_error("{} {}", option, e.what());
    }
  }
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) user_error("{} {}: cannot be written ({})", option, path, std::strerror(errno));
}

}  // namespace pleiad::io
