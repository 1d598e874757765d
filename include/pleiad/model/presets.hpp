// Presets of section [moe]: the published variants as sets of options. A key the user gives wins over the preset.
#pragma once
#include <string>
#include <vector>

#include "pleiad/core/spec.hpp"

namespace pleiad::model {

struct Preset {
  std::string name;
  std::string summary;
  std::vector<std::pair<std::string, std::string>> options;
};

const std::vector<Preset>& presets();

/// Reads moe.preset (default none) and sets its options as defaults. UserError for an unknown name.
void apply_preset(Spec& moe);

}  // namespace pleiad::model
