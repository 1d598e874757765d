// What belongs to a run: which of its settings may change when it goes on, and which checkpoints are its own.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "pleiad/io/checkpoint_h5.hpp"

namespace pleiad::app {

struct Difference {
  std::string key, was, now;
};

/// The first key of a run's configuration, in INI form, that has another value now and may not; `name`: of the run, for messages.
/// One of `given`, which somebody wrote down, rather than one that follows from it.
std::optional<Difference> forbidden_change(const std::string& run_config, const std::string& name, const std::map<std::string, std::string>& now,
                                           const std::map<std::string, std::string>& given = {});

/// A file that somebody put among the checkpoints must not become the run. `config`, `corpus`: the configuration of the run's record and the fingerprint of
/// its data, empty where there is no record. UserError if `info` of `checkpoint` is of another run.
void require_of_run(const std::string& checkpoint, const io::CheckpointInfo& info, const std::string& config, const std::string& corpus);

/// The path itself, or the newest whole checkpoint of a run directory; says on stderr which newer ones are damaged or gone. UserError if there is none, or if it
/// is one of another run than the record beside it. collective.
std::string find_checkpoint(const comm::Communicator& world, const std::string& path);

}  // namespace pleiad::app
