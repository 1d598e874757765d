// The folder of a sweep: made from a sweep file, and never mixed with another sweep.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/app/file_lock.hpp"
#include "pleiad/io/sweep_index.hpp"

namespace pleiad::app {

/// Reads a sweep file and its base configuration and resolves every point. `set`: section.key=value for all points. UserError for any point
/// that a run would refuse. One rank only; makes no file.
struct PlannedSweep {
  io::SweepIndex index;
  std::vector<std::string> configs;  ///< of each point
};
PlannedSweep plan_sweep(const std::string& file, const std::vector<std::string>& set);

/// Makes `folder`, or adds the new points to the sweep that is there. UserError if that one has points which the plan lacks: then something in
/// the sweep file or in the base configuration was changed, and the message says what. Returns the number of new points. One rank only.
i64 make_sweep_folder(PlannedSweep& plan, const std::string& folder);

/// Moves what earlier tries left in the folder of a point into a folder of its own there, earlier-N: the point can begin anew. UserError.
void set_aside(const std::string& point_folder);
/// Looks at points that are about to be run.
class PointReader {
 public:
  /// `index` must outlive this.
  explicit PointReader(const io::SweepIndex& index) : index_(index) {}
  /// parallel.blas_threads of a point. UserError if its point.ini is gone, or if its data are not those the sweep was planned with.
  i64 threads(const io::SweepPoint& point);

 private:
  const std::string& fingerprint(const std::string& data);

  const io::SweepIndex& index_;
  std::map<std::string, std::string> fingerprints_;  // by path of the data
};

/// Held while points run on this machine: one process at a time. UserError if another one does. One rank only.
FileLock lock_sweep(const std::string& folder);

}  // namespace pleiad::app
