// What a person sees of a sweep: its points before the run, a line for each that ends, and the table of how all are doing.
#pragma once
#include <string>
#include <vector>

#include "pleiad/core/clock.hpp"
#include "pleiad/sweep/local_runner.hpp"
#include "pleiad/sweep/point_state.hpp"

namespace pleiad::app {

/// Points with their settings and sizes.
void print_plan(const io::SweepIndex& index);
/// "12 points: 4 finished, 2 running, 6 waiting".
std::string in_words(const std::vector<sweep::PointStatus>& status);
/// A line for each point, without those that wait or are finished where there are many, unless `all`; then the sum and when it will be done.
void print_status(const io::SweepIndex& index, const std::vector<sweep::PointStatus>& status, bool all);

/// Tells how points run on this machine.
class SweepProgress {
 public:
  SweepProgress(const io::SweepIndex& index, const std::vector<sweep::Job>& jobs);
  void tell(const sweep::Event& event);
  void end();

 private:
  void say(const std::string& line);
  std::string outlook() const;

  const io::SweepIndex& index_;
  double work_ = 0, done_ = 0;  ///< floating-point operations of all points, of those that ended; or their number where that is not known
  bool weighted_ = true;
  std::size_t points_, ended_ = 0;
  bool is_terminal_, line_open_ = false;
  Stopwatch watch_, since_line_;
};

}  // namespace pleiad::app
