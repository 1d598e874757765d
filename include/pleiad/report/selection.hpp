// One side of a comparison, as it is written on the command line: a run, a sweep, a pattern of names, or points of a sweep.
#pragma once
#include <string>
#include <vector>

#include "pleiad/report/collection.hpp"

namespace pleiad::report {

struct Side {
  std::string text;  ///< as it was written
  std::vector<Run> runs;
  std::vector<std::string> keys;     ///< in which its runs vary beside the seed, as far as a sweep or their configurations say
  std::vector<std::string> remarks;  ///< points that are missing
};

/// `text` is a run directory or run.h5, a sweep directory, a pattern of such names ('runs/xmoe-*'), or SWEEP:key=value[,key=value...], where a
/// value may hold commas and a key may stand without its section. Of sweeps only complete runs are taken. UserError if there is no run, or
/// for a key or value that the sweep does not have.
Side select_side(const std::string& text);

/// key=value[,key=value...] in its parts; a part without '=' continues the value before it. UserError, naming `where`, if it is malformed.
std::vector<std::pair<std::string, std::string>> parse_selection(const std::string& where, const std::string& text);

/// What a run has for a key: of its point, else of its configuration; "seed" and "ranks" are keys too.
std::string value_of(const Run& run, const std::string& key);

}  // namespace pleiad::report
