// Damages a good HDF5 file through HDF5 itself, as the bytes of an input say: the result is well-formed HDF5 and not what a reader expects.
#pragma once
#include <string>
#include <vector>

#include "fuzz.hpp"

namespace pleiad::fuzz {

/// What there is to damage.
struct Anatomy {
  std::vector<std::string> objects, attributes;  ///< paths of groups and datasets; names
};
Anatomy anatomy_of(const std::string& path);

/// Removes, replaces, links, resizes and fills things in the file at `path`, an excerpt of which is `anatomy`. In a process of its own: HDF5 1.10 has ended in the
/// middle of such changes, and its mistakes in writing are not to spoil the memory of those who read. False where it did not come to its end.
bool damage(const std::string& path, const Anatomy& anatomy, Bytes& bytes);

/// A file that links and storage in damaged files lead to. Nobody may open it.
const std::string& trap();
/// Whether somebody did since the last time.
bool trapped();

}  // namespace pleiad::fuzz
