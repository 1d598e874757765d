#include "pleiad/core/temporary_folder.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "pleiad/core/error.hpp"

namespace pleiad {

TemporaryFolder::TemporaryFolder(const std::string& base) {
  const char* usual = std::getenv("TMPDIR");
  path_ = (!base.empty() ? base : usual && *usual ? usual : "/tmp") + "/pleiad-XXXXXX";
  if (!::mkdtemp(path_.data())) user_error("cannot make the temporary folder {}: {} (TMPDIR names another place)", path_, std::strerror(errno));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace pleiad
