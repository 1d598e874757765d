// live.json: how a run is doing at this moment, for people and programs on other machines; format pleiad-live/1 (docs/file_format.md). A small
// file that is replaced as a whole every few seconds: whoever reads it opens nothing that the run writes to, and takes no lock.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::io {

inline constexpr const char* k_live_format = "pleiad-live/1";

struct LiveStatus {
  /// running; stopped: saved before its end, can be continued; finished: all steps are done.
  std::string state = "running";
  std::string host, job;                      ///< of rank 0; SLURM job, empty outside
  i64 process = 0, ranks = 1;                 ///< process number of rank 0
  i64 first_step = 0, step = 0, steps = 0;    ///< updates: done when this part of the run began, done now, of the whole run
  double time = 0, started = 0;               ///< Unix seconds: of this status, of this part of the run
  double seconds_per_step = 0, tokens_per_second = 0;  ///< recent
  double loss = 0, learning_rate = 0;         ///< of the last step
  std::optional<i64> evaluated;               ///< step of the last evaluation
  double evaluation_loss = 0;
  std::optional<double> above_floor;
  std::vector<i64> history_step;              ///< at most 120 points over the whole run, ascending
  std::vector<double> history_loss;           ///< mean loss since the point before
  std::map<std::string, double> phase_seconds;  ///< of all steps of this part, mean over ranks
  struct Layer {
    i64 block = 0;
    std::vector<double> load;                 ///< by expert, or by equal groups of neighbours where there are more than 64: share over fair share
    double imbalance = 1, flops_imbalance = 1, entropy = 0, mean_k = 0, dropped_share = 0;
  };
  std::vector<Layer> layers;                  ///< of the last step

  double eta_seconds() const { return seconds_per_step * static_cast<double>(steps - step); }
};

/// Nothing if there is none (yet). UserError if it is damaged. One rank only.
std::optional<LiveStatus> read_live_status(const std::string& run);
/// Replaces RUN/live.json as a whole. UserError if it cannot be written. One rank only.
void write_live_status(const std::string& run, const LiveStatus& status);

}  // namespace pleiad::io
