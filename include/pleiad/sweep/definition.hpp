// What a sweep file says: which keys take which values, how they are combined, and what is kept equal. The file is INI; app parses it into
// entries, here they get their meaning (docs/sweeps.md). Read next: plan.hpp.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "pleiad/core/real.hpp"

namespace pleiad::sweep {

/// One line of the file.
struct Entry {
  std::string section, key, value;
};

/// section.key=value, or ranks=value.
struct Setting {
  std::string key, value;
};

/// A key and the values it takes.
struct Axis {
  std::string key;
  std::vector<std::string> values;
};

/// A key whose values are drawn.
struct RandomAxis {
  enum class Kind { uniform, log, integer, choice } kind = Kind::uniform;
  std::string key;
  double low = 0, high = 0;           ///< of all but choice; integer: both may occur
  std::vector<std::string> choices;
  /// The value of sample number `sample`; a function of seed, key and sample only.
  std::string draw(std::uint64_t seed, i64 sample) const;
};

/// What all points have in common, and the whole-number key that is chosen so that they do.
struct Equal {
  std::string quantity;               ///< flops_per_token, training_flops, total_parameters, active_parameters
  std::string solve;                  ///< such as moe.expert_width
  std::optional<double> target;       ///< none: what the base configuration has
  i64 multiple_of = 1;
  double tolerance = 0.02;            ///< largest relative deviation that is accepted
  std::optional<double> mean_k;       ///< experts per token to count with where the data decide
};

struct Definition {
  std::string base;                   ///< path of the base configuration, as given
  i64 ranks = 1;
  std::vector<i64> seeds;             ///< empty: that of the base
  i64 repeats = 1;                    ///< used where `seeds` is empty: so many seeds from that of the base on
  std::vector<Setting> set;
  std::vector<Axis> grid, list;       ///< all combinations; values side by side, as many of each
  std::vector<RandomAxis> random;
  i64 samples = 0;
  std::uint64_t sampling_seed = 1;
  std::optional<Equal> equal;

  /// UserError naming `file`, the key, its value and what is allowed.
  static Definition read(const std::vector<Entry>& entries, const std::string& file);
  /// Swept keys in the order of the file, the one a constraint solves for last.
  std::vector<std::string> keys() const;
  /// How many combinations there are of grid, list and samples; read() has them at most 100,000.
  i64 combinations() const;
  /// Combination `number` of combinations(), the last key varying fastest: the settings of keys(), as far as they are not solved for and not
  /// "-". One at a time, as a hundred thousand of many keys do not fit into memory.
  std::vector<Setting> combination(i64 number) const;
};

}  // namespace pleiad::sweep
