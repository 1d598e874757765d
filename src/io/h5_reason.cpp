// Why a file could not be written, and what becomes of it then.
#include "h5_detail.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>

namespace pleiad::io {

namespace detail {

namespace {

struct Story {
  std::string first;       // what the innermost function of the library says
  int number = 0;          // errno, if one of them tells
};

herr_t read_entry(unsigned n, const H5E_error2_t* entry, void* out) {
  Story& story = *static_cast<Story*>(out);
  const char* text = entry->desc ? entry->desc : "";
  if (n == 0) story.first = text;
  if (const char* at = std::strstr(text, "errno = "); at && story.number == 0) story.number = std::atoi(at + 8);
  return 0;
}

Story read_stack() {
  Story story;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, read_entry, &story);
  return story;
}

/// What was said of files that the system did not let us write, by their names.
std::map<std::string, std::string>& spoilt() {
  static std::map<std::string, std::string> files;
  return files;
}

}  // namespace

std::string reason() {
  const Story story = read_stack();
  if (story.number != 0) return std::strerror(story.number);
  if (story.first == "component not found") return "there is no such object";
  long long there = 0, whole = 0;
  if (std::sscanf(story.first.c_str(), "truncated file: eof = %lld, sblock->base_addr = 0, stored_eof = %lld", &there, &whole) == 2) return fmt::format("truncated file, {} of {} bytes are there", there, whole);
  return story.first.empty() ? "no reason given by HDF5" : story.first.substr(0, story.first.find(": time = "));
}

void fail(const char* verb, const std::string& object, const std::string& file) {
  const bool system = read_stack().number != 0;
  const std::string of = object.empty() ? "" : fmt::format("'{}' of ", object);
  const std::string why = !system && std::string_view(verb) == "read" ? fmt::format("it is damaged ({})", reason()) : reason();
  const std::string problem = fmt::format("cannot {} {}'{}': {}", verb, of, final_name(file), why);
  if (system) {
    spoilt()[file] = problem;
    discard(file);
  }
  throw UserError(problem);
}

void begin_anew(const std::string& file) { spoilt().erase(file); }

bool is_spoilt(const std::string& file) { return spoilt().count(file) > 0; }

void refuse_spoilt(const std::string& file) {
  if (is_spoilt(file)) throw UserError(spoilt().at(file));
}

bool is_unfinished(const std::string& path) { return path.ends_with(temporary_name("")); }

std::string final_name(const std::string& path) { return is_unfinished(path) ? path.substr(0, path.size() - temporary_name("").size()) : path; }

void discard(const std::string& path) {
  if (is_unfinished(path)) ::unlink(path.c_str());
}

void reserve(const std::string& path, i64 bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) system_error("write", path);
  int code = 0;
  do {
    code = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  } while (code != 0 && errno == EINTR);
  const int problem = errno;
  ::close(fd);
  if (code == 0 || problem == EOPNOTSUPP || problem == ENOSYS) return;
  errno = problem;
  system_error("write", path);
}

void write_behind(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  // Whoever waits is told of a write that failed, and nobody after that, fsync included.
  const int problem = ::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ? 0 : errno;
  if (problem == 0) static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  static_cast<void>(::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
  ::close(fd);
  if (problem != EIO && problem != ENOSPC && problem != EDQUOT) return;  // none, or a file system that cannot do this
  errno = problem;
  system_error("write", path);
}

void system_error(const char* verb, const std::string& path) { user_error("cannot {} '{}': {}", verb, final_name(path), std::strerror(errno)); }

}  // namespace detail

using namespace detail;

void start_h5() {
  H5dont_atexit();
  silence();
}

std::string temporary_name(const std::string& path) {
  return path + ".partial";
}

void publish(const std::string& temporary, const std::string& path) {
  const auto sync = [](const std::string& what) {
    const int fd = ::open(what.c_str(), O_RDONLY);
    if (fd < 0) system_error("open", what);
    const int code = ::fsync(fd);
    const int problem = errno;
    ::close(fd);
    // Some file systems cannot sync a folder and say so with EINVAL.
    if (code != 0 && problem != EINVAL) {
      errno = problem;
      system_error("save", what);
    }
  };
  try {
    sync(temporary);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) system_error("create", path);
  } catch (const UserError&) {
    discard(temporary);
    throw;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  sync(folder.empty() ? "." : folder);
}

}  // namespace pleiad::io
