// What this build is, for --version and the run record. Filled in by CMake: src/core/build_info.cpp.in.
#pragma once
#include <string_view>

namespace pleiad::core {

struct BuildInfo {
  std::string_view version;     ///< of the project, "0.1.0"
  std::string_view build_type;  ///< "Release", "Debug", ...
  std::string_view compiler;    ///< "GNU 12.2.0"
  std::string_view flags;       ///< everything that changes the generated code
  std::string_view git_commit;  ///< 12 digits, "-dirty" where files differed when CMake ran, or "unknown"
  std::string_view simgrid;     ///< version of the SimGrid that pleiad_flows was built with; empty: it was not
  bool native;                  ///< compiled with -march=native
  bool double_precision;        ///< the checking build, real = double
};

BuildInfo build_info();

}  // namespace pleiad::core
