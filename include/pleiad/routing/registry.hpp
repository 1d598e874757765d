// The one visible list of routing variants, expanded from variants.def. Nothing else in the program knows their names.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "pleiad/core/spec.hpp"
#include "pleiad/routing/router.hpp"

namespace pleiad::routing {

/// What a variant is built from: it adds its parameters under `prefix` + "router/".
struct RouterBuild {
  ParamSet& params;
  std::string prefix;
  i64 width = 0;               ///< D
  std::vector<i64> expert_widths;  ///< [N]
  i64 split = 1;                   ///< experts that each expert of the base model became (moe.split)
  i64 experts() const { return static_cast<i64>(expert_widths.size()); }
  /// For messages: what N is called in the configuration.
  std::string experts_key() const { return split > 1 ? "moe.experts x moe.split" : "moe.experts"; }
};

/// What the experts of a variant are: feed-forward networks, single neurons or constant rows.
enum class Bank { feed_forward, neuron, value };

struct RouterVariant {
  std::string name;
  std::string summary;   ///< one line for people
  std::string citation;  ///< how to cite it; empty if there is nothing to cite
  std::unique_ptr<Router> (*make)(const RouterBuild&, Spec&);
  Bank bank = Bank::feed_forward;
};

/// All registered variants, in the order of variants.def.
const std::vector<RouterVariant>& router_variants();
std::vector<std::string> router_names();
/// UserError if there is no variant of that name.
const RouterVariant& router_variant(const std::string& name);

}  // namespace pleiad::routing
