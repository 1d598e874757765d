// From a definition to points: every combination is resolved, the free key solved for, and each point gets a name that stands for its
// content. How a configuration becomes a model is not known here: app implements Resolver.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pleiad/io/sweep_index.hpp"
#include "pleiad/sweep/definition.hpp"

namespace pleiad::sweep {

/// A configuration as a run would have it.
struct Resolved {
  std::string config;                           ///< every option in force, INI form
  std::map<std::string, std::string> options;   ///< the same, section.key -> value
  std::string identity;                         ///< io::run_identity
  double total_parameters = 0, active_parameters = 0, flops_per_token = 0, training_flops = 0;
  bool knows_k = true;                          ///< false: the data decide how many experts a token gets, and mean_k was not given
};

class Resolver {
 public:
  virtual ~Resolver() = default;
  /// The base configuration with these settings on `ranks` ranks; `mean_k`: experts per token to count with where the data decide.
  /// UserError for what a run would refuse.
  virtual Resolved resolve(const std::vector<Setting>& settings, i64 ranks, std::optional<double> mean_k) = 0;
};

struct Plan {
  io::SweepIndex index;
  std::vector<std::string> configs;  ///< of each point, the content of its point.ini
};

/// All points. UserError that names the combination which a run would refuse or for which nothing fits the constraint.
Plan make_plan(const Definition& definition, Resolver& resolver);

/// Of `name`-value pairs, such as "moe.experts = 8, moe.k = 2".
std::string in_words(const std::vector<Setting>& settings);

/// The whole number w > 0, a multiple of `step`, whose f(w) is nearest to `target`; f must not decrease. `start`: where to look first. Few
/// calls where f is a straight line.
i64 solve_whole(const std::function<double(i64)>& f, double target, i64 start, i64 step);

}  // namespace pleiad::sweep
