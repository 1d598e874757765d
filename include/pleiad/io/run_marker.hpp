// finished.json: says that a run did all its steps, of which configuration, and what its record must look like; format pleiad-finished/1
// (docs/file_format.md). Whoever wants to know whether a run is finished checks it: that the file is there says nothing.
#pragma once
#include <map>
#include <string>

#include "pleiad/core/real.hpp"

namespace pleiad::io {

inline constexpr const char* k_marker_format = "pleiad-finished/1";

/// What a run is made of: SHA-256 of all options in force (section.key -> value), the corpus by its fingerprint and not by its path.
std::string run_identity(const std::map<std::string, std::string>& options, const std::string& corpus_fingerprint);

/// Writes the marker of a run whose record is closed: its size and SHA-256 now, and the size of its newest checkpoint. UserError if that
/// cannot be done. One rank only.
void write_marker(const std::string& run, const std::string& identity, i64 step, i64 ranks);
/// Before a run is written again. One rank only.
void remove_marker(const std::string& run);

struct MarkerCheck {
  bool there = false;      ///< a marker, right or wrong
  bool finished = false;   ///< it is whole, is of this run, and the record is as it says
  std::string problem;     ///< why not, a part of a sentence; empty if there is no marker or all is well
  std::string checkpoint;  ///< what is wrong with the last checkpoint, as far as its size tells; somebody may have needed the room
  std::string identity;    ///< of the marker
  i64 step = 0;
};
/// Checks the marker and the files it names (sizes, and the checksum where a file was written since); of `identity` too unless that is empty. Never throws for what it finds. One rank only.
MarkerCheck check_marker(const std::string& run, const std::string& identity = "");

}  // namespace pleiad::io
