// Every reader of HDF5 files that we have, one after the other.
#pragma once
#include <string>

namespace pleiad::fuzz {

/// Reads the file at `path` in every way; those that expect another format refuse it at once. Readers that bring a model of their own get one
/// that fits `good`, the file it was before it was damaged.
void read_in_every_way(const std::string& path, const std::string& good);
/// Files that we made, small ones: templates/NAME*.h5.
std::string template_path(const std::string& name);

}  // namespace pleiad::fuzz
