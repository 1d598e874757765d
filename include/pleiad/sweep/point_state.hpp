// How a point of a sweep is doing, from the small files of its folder: finished.json (checked, not just seen), attempts.txt (one line when a
// try begins and one when it ends), live.json and output.txt. Nothing is opened that a run writes to.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pleiad/io/sweep_index.hpp"

namespace pleiad::sweep {

/// Exit code of a run that was stopped and saved (app/commands.hpp).
inline constexpr int k_stopped_code = 75;

enum class State {
  waiting,      ///< never tried, or in a queue
  running,
  stopped,      ///< saved before its end, or killed: goes on where it was when it is tried again
  finished,     ///< all steps, marker and files as they should be
  failed,       ///< ended with an error
  damaged       ///< was finished, but its files are not what they were, or its configuration was changed
};
const char* state_name(State state);

struct PointStatus {
  State state = State::waiting;
  i64 attempts = 0;
  i64 step = 0, steps = 0;     ///< 0 where nothing is known
  double loss = 0;             ///< last held-out loss, or training loss; NaN: none
  double seconds = 0;          ///< between the beginning and the end of the last try
  bool config_changed = false; ///< point.ini is not what was planned: must not be run
  double eta_seconds = -1;     ///< of a running one; negative: unknown
  std::string note;            ///< of a failed or damaged one: why, in one line; of others where it runs
  std::string job;             ///< of SLURM
};

/// Of a job that SLURM no longer has.
inline constexpr const char* k_left_queue = "GONE";
/// `queue`: state of each SLURM job by its id (12 or 12_3), as squeue prints it, or k_left_queue. One rank only; never throws for what it finds.
PointStatus point_status(const io::SweepIndex& index, const io::SweepPoint& point, const std::map<std::string, std::string>& queue = {});

/// Appends a line to attempts.txt: the beginning of a try, with who makes it, and its end.
void note_start(const std::string& folder, i64 ranks, i64 process);
void note_end(const std::string& folder, int code);

/// The last line of a text file that says something; one of ours ("pleiad: ...") wins over later ones of a launcher.
std::string last_line(const std::string& path);

}  // namespace pleiad::sweep
