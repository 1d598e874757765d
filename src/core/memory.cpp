#include "pleiad/core/memory.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

namespace pleiad {

namespace {

i64 g_earlier_peak = 0;  // before the last forget_peak()

/// The number behind `key` in a file of lines "key: number kB"; -1 if there is none.
i64 kilobytes(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return 1024 * std::stoll(line.substr(key.size()));
  }
  return -1;
}

/// A file that holds one number; k_no_limit if there is none ("max", or no file).
i64 number_in(const std::string& path) {
  std::ifstream in(path);
  i64 n = 0;
  return in >> n ? n : k_no_limit;
}

/// Usage in which the kernel counts pages of files that it would give up: they are not in the way.
i64 inactive_file(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  i64 n = 0;
  for (std::string word; in >> word >> n;) {
    if (word == key) return n;
  }
  return 0;
}

void lower(MemoryRoom& room, i64 bytes, const std::string& limit) {
  if (bytes < room.bytes) room = {std::max<i64>(bytes, 0), limit};
}

/// A control group and all around it. Where only a part of the tree is mounted, as in containers, groups that are not there are passed over.
void lower_by_group(MemoryRoom& room, const std::string& mount, std::string group, const char* limit, const char* usage, const char* inactive) {
  for (;;) {
    const std::string folder = fmt::format("{}{}/", mount, group == "/" ? "" : group);
    const i64 most = number_in(folder + limit), used = number_in(folder + usage);
    // Version 1 says "no limit" by a number near 2^63.
    if (most < k_no_limit && used < k_no_limit) lower(room, most - used + inactive_file(folder + "memory.stat", inactive), fmt::format("control group {}", group));
    if (group.size() <= 1) return;
    group.resize(std::max<std::size_t>(group.rfind('/'), 1));
  }
}

}  // namespace

ProcessMemory process_memory() {
  const std::string path = "/proc/self/status";
  const auto bytes = [&](const char* key) { return std::max<i64>(kilobytes(path, key), 0); };
  return {bytes("VmRSS:"), bytes("VmHWM:"), bytes("RssShmem:"), bytes("VmSize:"), bytes("VmData:")};
}

bool forget_peak() {
  g_earlier_peak = peak_of_all();
  std::ofstream out("/proc/self/clear_refs");
  out << 5 << std::flush;
  return static_cast<bool>(out);
}

i64 peak_of_all() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return std::max({g_earlier_peak, process_memory().peak, i64{1024} * usage.ru_maxrss});
}

i64 heap_in_use() {
#ifdef __GLIBC__
  const struct mallinfo2 info = mallinfo2();
  return static_cast<i64>(info.uordblks + info.hblkhd);
#else
  return 0;
#endif
}

void return_freed_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

MemoryRoom machine_room(const std::string& root) {
  MemoryRoom room;
  if (const i64 available = kilobytes(root + "/proc/meminfo", "MemAvailable:"); available >= 0) lower(room, available, "memory of the node");
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:group
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1)), group = line.substr(second + 1);
    if (controllers == ",,") lower_by_group(room, root + "/sys/fs/cgroup", group, "memory.max", "memory.current", "inactive_file");
    if (controllers.find(",memory,") != std::string::npos) {
      lower_by_group(room, root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
    }
  }
  return room;
}

MemoryRoom process_room() {
  MemoryRoom room;
  const ProcessMemory now = process_memory();
  rlimit limit = {};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) lower(room, static_cast<i64>(limit.rlim_cur) - now.address_space, "ulimit -v");
  if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) lower(room, static_cast<i64>(limit.rlim_cur) - now.data, "ulimit -d");
  return room;
}

MemoryRoom shared_room() {
  MemoryRoom room;
  struct statvfs fs = {};
  if (statvfs("/dev/shm", &fs) == 0) lower(room, static_cast<i64>(fs.f_bavail * fs.f_frsize), "/dev/shm");
  return room;
}

}  // namespace pleiad
