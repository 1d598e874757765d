// sweep.json: what a sweep folder holds, one entry per point; format pleiad-sweep-index/1 (docs/file_format.md). Who runs points, and who
// reads their results, knows them from here.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::io {

inline constexpr const char* k_sweep_index_format = "pleiad-sweep-index/1";

/// One configuration with one seed.
struct SweepPoint {
  std::string name;                              ///< of its folder, points/NAME: readable words and the first 12 digits of `id`
  std::string identity;                          ///< io::run_identity of its run
  std::string id;                                ///< SHA-256 of identity and ranks
  std::string config_sum;                        ///< SHA-256 of points/NAME/point.ini
  std::map<std::string, std::string> settings;   ///< by key of SweepIndex::keys: the value of this point
  i64 seed = 1, ranks = 1;
  std::map<std::string, double> sizes;           ///< known before the run: flops_per_token, total_parameters, active_parameters, ...
};

struct SweepIndex {
  std::string name;                ///< of the sweep
  std::string folder;              ///< where it lies; not in the file
  std::string definition;          ///< the sweep file as it was given
  std::string config;              ///< the base configuration as it was given
  std::vector<std::string> keys;   ///< section.key, swept ones first, then the one a constraint solves for; "ranks" where that is swept
  std::vector<SweepPoint> points;

  std::string path_of(const SweepPoint& point) const { return folder + "/points/" + point.name; }
};

/// Whether `folder` holds a sweep.
bool is_sweep(const std::string& folder);
/// UserError if it is not there, damaged or of another version. One rank only.
SweepIndex read_sweep_index(const std::string& folder);
/// Replaces the file as a whole. UserError if it cannot be written. One rank only.
void write_sweep_index(const SweepIndex& index);

}  // namespace pleiad::io
