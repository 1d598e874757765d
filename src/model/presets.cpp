#include "pleiad/model/presets.hpp"

namespace pleiad::model {

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"none", "only what the section says", {}},
      {"dense", "no experts: every block has a dense feed-forward layer", {{"layers", "none"}}},
      {"switch", "Switch Transformer: top-1, raw weight, capacity by position, balance on first choices",
       {{"router", "topk"}, {"k", "1"}, {"renormalize", "false"}, {"capacity_factor", "1.25"}, {"capacity_order", "position"},
        {"balance_loss", "0.01"}, {"balance_mode", "first"}, {"input_noise", "0.01"}}},
      {"gshard", "GShard: top-2, renormalised, first choices fill the capacity first, balance on first choices",
       {{"router", "topk"}, {"k", "2"}, {"renormalize", "true"}, {"capacity_factor", "1.25"}, {"capacity_order", "position"},
        {"balance_loss", "0.01"}, {"balance_mode", "first"}}},
      {"mixtral", "Mixtral: top-2, renormalised, dropless, swiglu experts, balance on all assignments",
       {{"router", "topk"}, {"k", "2"}, {"renormalize", "true"}, {"capacity_factor", "0"}, {"activation", "swiglu"},
        {"balance_loss", "0.01"}, {"balance_mode", "assignments"}}},
  };
  return all;
}

void apply_preset(Spec& moe) {
  std::vector<std::string> names;
  for (const Preset& p : presets()) names.push_back(p.name);
  const std::string name = moe.choice("preset", "none", names, "a published variant as starting point");
  for (const Preset& p : presets()) {
    if (p.name != name) continue;
    for (const auto& [key, value] : p.options) moe.set_default(key, value);
  }
}

}  // namespace pleiad::model
