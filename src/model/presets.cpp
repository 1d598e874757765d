#include "pleiad/model/presets.hpp"

namespace pleiad::model {

namespace {

/// HyperMoE's backbone with one more option: a small expert beside the others. Its controls differ in that option and in nothing else.
std::vector<std::pair<std::string, std::string>> beside_switch(const std::string& key, const std::string& value) {
  return {{"router", "topk"}, {"k", "1"}, {"renormalize", "false"}, {key, value}, {"balance_loss", "0.001"}, {"balance_mode", "first"},
          {"z_loss", "0.001"}, {"input_noise", "0.01"}};
}

}  // namespace

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
      {"hmoe", "HMoE: experts of arithmetic widths, top-p, parameter penalty and router entropy instead of balance",
       {{"router", "topp"}, {"p", "0.6"}, {"activation", "swiglu"}, {"width_distribution", "arithmetic"}, {"penalty_loss", "0.1"},
        {"entropy_loss", "0.03"}}},
      {"hypermoe", "HyperMoE: Switch with an expert generated from the experts not chosen", beside_switch("hyper", "true")},
      {"moe_shared_adapter", "control of hypermoe: one free adapter for all tokens in place of the generated expert", beside_switch("adapter", "shared")},
      {"moe_expert_adapter", "control of hypermoe: a free adapter for each expert in place of the generated expert", beside_switch("adapter", "per_expert")},
      {"xmoe", "XMoE: threshold router with raw weights, balance on first choices",
       {{"router", "threshold"}, {"threshold", "0.9"}, {"renormalize", "false"}, {"capacity_order", "probability"}, {"min_capacity", "4"},
        {"balance_loss", "0.01"}, {"balance_mode", "first"}}},
      {"damoe", "DA-MoE in a causal model: attention decides how many experts a token gets",
       {{"router", "damoe"}, {"importance", "row"}, {"k_rule", "causal"}, {"balance_loss", "0.01"}, {"balance_mode", "assignments"}}},
      {"peer", "PEER: product keys over single neurons", {{"router", "peer"}, {"heads", "8"}, {"k", "16"}}},
      {"pkm", "product-key memory", {{"router", "pkm"}, {"heads", "8"}, {"k", "32"}, {"shared_keys", "false"}}},
      {"deepseek", "sigmoid scores, balancing bias instead of a loss",
       {{"router", "sigmoid_bias"}, {"k", "2"}, {"bias_rate", "0.001"}, {"activation", "swiglu"}}},
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
