// The status of a run (io/live_status.hpp) as text for a terminal. Pure functions; command_watch.cpp asks and prints.
#pragma once
#include "pleiad/io/live_status.hpp"

namespace pleiad::app {

struct ViewOptions {
  i64 width = 80;       ///< columns; nothing is wider, down to 40
  bool unicode = true;  ///< block elements; otherwise plain ASCII
  double silence = 0;   ///< seconds since the run was last heard of
};

/// Whether a run that says it is running has been silent for so long that a person should know: much longer than a step, and than 30 s.
bool is_silent(const io::LiveStatus& status, double silence);

/// Several lines: where it stands, loss curve, load of every MoE layer, shares of the phases. `run`: its name.
std::string picture_of(const io::LiveStatus& status, const std::string& run, const ViewOptions& options);
/// One line.
std::string line_of(const io::LiveStatus& status, const ViewOptions& options);

/// `rows` lines of a curve through the values, from the smallest to the largest; values that are not finite are gaps.
std::vector<std::string> curve(const std::vector<double>& values, i64 columns, i64 rows, bool unicode);
/// One column for each value (means of neighbours where there are more than `columns`): nothing at 0, full at `full`.
std::string bars(const std::vector<double>& values, double full, i64 columns, bool unicode);

}  // namespace pleiad::app
