#include "pleiad/io/identity.hpp"

#include "pleiad/core/build_info.hpp"

namespace pleiad::io {

void set_identity(H5File& file, const std::string& format, const std::string& description) {
  const core::BuildInfo build = core::build_info();
  file.set_attribute("/", "format", format);
  file.set_attribute("/", "description", description);
  file.set_attribute("/", "pleiad_version", std::string(build.version));
  file.set_attribute("/", "git_commit", std::string(build.git_commit));
}

}  // namespace pleiad::io
