#include "pleiad/core/error.hpp"

#include <cstring>

namespace pleiad::core {

void check_failed(const char* condition, const char* file, int line, const std::string& what) {
  const char* tail = std::strstr(file, "/src/");
  throw LogicError(fmt::format("internal check failed: {} ({}) at {}:{}", what, condition, tail ? tail + 1 : file, line));
}

}  // namespace pleiad::core
