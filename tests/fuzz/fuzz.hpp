// What all fuzz targets share. A target is LLVMFuzzerTestOneInput, as libFuzzer wants it; fine is to return or to throw what a user is told
// (attempt() swallows it), anything else is a finding. Two programs call it: libFuzzer's own (clang, preset fuzz), and replay.cpp, which feeds
// it every file under corpus/ and breakers/ in each build.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>

#include "pleiad/comm/communicator.hpp"
#include "pleiad/core/error.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace pleiad::fuzz {

/// Runs it; what main() would tell the user in one sentence counts as well done. Whether it came to its end.
bool attempt(const std::function<void()>& action);
/// Aborts: a finding.
[[noreturn]] void finding(const std::string& what);

/// A folder of this process, in memory where there is /dev/shm; removed at its end.
const std::string& scratch();
void put(const std::string& path, std::string_view content);
std::string get(const std::string& path);

/// This process alone, with MPI started when it is first asked for.
const comm::Communicator& alone();

/// Takes an input apart, from its beginning to its end; zeros after that.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  /// Below `bound`, which is at most 256; 0 if that is 0.
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : byte() % bound; }
  std::uint64_t number(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | byte();
    return value;
  }
  /// Of a length that one byte says.
  std::string_view text() { return take(byte()); }
  std::string_view take(std::size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest() { return take(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace pleiad::fuzz
