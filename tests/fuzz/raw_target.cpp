// HDF5 files as bytes, damaged anywhere. The HDF5 library itself may break down in them, which no code of ours can mend: then the process must
// end by the sentence of io::exit_on_broken_files(). So each input is read by a process of its own, and the ways for it to end are: well, or so.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "fuzz.hpp"
#include "h5_readers.hpp"

#include "pleiad/io/h5.hpp"

// libFuzzer's counters of what was run, where this program has them. (This file is compiled without them: it would not have these names.)
extern "C" {
extern char __start___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern char __stop___sancov_cntrs[] __attribute__((weak, visibility("hidden")));

// Of what the library does to its own memory, only what ends a process is looked at: that is what a user sees of it, as AddressSanitizer is not there then.
const char* __asan_default_suppressions() { return "interceptor_via_lib:libhdf5\n"; }
}

namespace {

using namespace pleiad;

constexpr int k_ended_by_sentence = 42;
constexpr unsigned k_seconds = 20;

/// So that libFuzzer sees what the child does.
void share_counters() {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(__start___sancov_cntrs), end = reinterpret_cast<std::uintptr_t>(__stop___sancov_cntrs);
  const std::uintptr_t first = (begin + page - 1) / page * page, last = end / page * page;
  if (last <= first) return;
  const std::string now(reinterpret_cast<const char*>(first), last - first);
  void* const shared = ::mmap(reinterpret_cast<void*>(first), last - first, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (shared == MAP_FAILED) fuzz::finding("the counters cannot be shared");
  std::memcpy(shared, now.data(), now.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string path = [] {
    share_counters();
    fuzz::alone();
    io::h5_description();
    return fuzz::scratch() + "/run.h5";
  }();
  fuzz::put(path, std::string_view(reinterpret_cast<const char*>(data), size));
  const ::pid_t child = ::fork();
  if (child < 0) fuzz::finding("no process can be made");
  if (child == 0) {
    ::alarm(k_seconds);
    io::exit_on_broken_files(k_ended_by_sentence, 0);
    fuzz::read_in_every_way(path, fuzz::template_path("checkpoint"));
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) fuzz::finding(fmt::format("ended by signal {}: {}", WTERMSIG(status), ::strsignal(WTERMSIG(status))));
  if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != k_ended_by_sentence) fuzz::finding(fmt::format("exit code {}", WEXITSTATUS(status)));
  return 0;
}
