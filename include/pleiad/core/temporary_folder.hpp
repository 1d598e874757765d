#pragma once
#include <sys/types.h>

#include <string>

namespace pleiad {

/// A folder that goes with all that is in it: pleiad-XXXXXX in `base`, by default what TMPDIR names, or /tmp. UserError if it cannot be made.
/// SIGINT, SIGTERM and SIGHUP, where nobody handles them, take it along before they end the process. A copy of the process (fork) leaves it alone.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& base = {});
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  pid_t owner_;
};

}  // namespace pleiad
