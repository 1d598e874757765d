// What every file of a run says about itself first: its format, what it is, and the program that wrote it.
#pragma once
#include "pleiad/io/h5.hpp"

namespace pleiad::io {

/// Root attributes format, description, pleiad_version and git_commit. Collective in a parallel file.
void set_identity(H5File& file, const std::string& format, const std::string& description);

}  // namespace pleiad::io
