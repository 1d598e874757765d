// The two kinds of trouble: what a user can mend (UserError, exit code 2) and what only we can (LogicError, exit code 3).
// A UserError that is thrown where several ranks run must be agreed on by all of them first: see comm/agree.hpp.
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace pleiad {

/// Bad input: the message is one sentence that names the thing, the value it has and what is allowed.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A broken invariant of this program.
class LogicError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

template <class... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> text, Args&&... args) {
  throw UserError(fmt::format(text, std::forward<Args>(args)...));
}

namespace core {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& what);
}  // namespace core

}  // namespace pleiad

/// Always on. Costs one branch; keep it out of inner loops. Usage: PLEIAD_CHECK(a == b, "rows {} of {}", a, b).
#define PLEIAD_CHECK(condition, ...)                                                                   \
  do {                                                                                                 \
    if (!(condition)) [[unlikely]] {                                                                   \
      ::pleiad::core::check_failed(#condition, __FILE__, __LINE__, ::fmt::format(__VA_ARGS__));       \
    }                                                                                                  \
  } while (false)
