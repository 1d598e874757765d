// The option sets under which every registered router is tested: by the contract suite and by the gradient tests. A variant without
// an entry here is tested with its defaults; give it an entry for every option that changes a formula.
#pragma once
#include <map>

#include "pleiad/routing/registry.hpp"
#include "support/alone.hpp"
#include "support/sample.hpp"

namespace pleiad::test {

struct RouterOptions {
  std::map<std::string, std::string> keys;
  std::vector<i64> widths = {4, 1, 2, 9, 4, 3};  ///< of the experts
};

inline std::vector<RouterOptions> options_of(const std::string& variant) {
  static const std::map<std::string, std::vector<RouterOptions>> table = {
      {"dense", {{{}, {5}}}},
      {"topk",
       {{{}},
        {{{"k", "1"}, {"balance_loss", "0.3"}, {"balance_mode", "first"}, {"z_loss", "0.2"}, {"input_noise", "0.1"},
          {"capacity_factor", "1"}}},
        {{{"k", "2"}, {"balance_loss", "0.3"}, {"balance_mode", "tokens"}, {"capacity_factor", "0.7"}, {"capacity_order", "probability"},
          {"eval_capacity", "train"}}},
        {{{"k", "3"}, {"renormalize", "false"}, {"balance_loss", "-0.3"}, {"balance_mode", "assignments"}, {"penalty_loss", "0.4"},
          {"entropy_loss", "0.5"}, {"z_loss", "0.1"}, {"importance_loss", "0.6"}, {"capacity_factor", "0.5"}, {"min_capacity", "3"}}},
        {{{"k", "6"}, {"importance_loss", "0.6"}}},
        {{{"k", "1"}}, {3}}}},
      {"noisy_topk",
       {{{}},
        {{{"k", "2"}, {"load_loss", "0.7"}, {"importance_loss", "0.6"}, {"z_loss", "0.2"}}},
        {{{"k", "3"}, {"load_loss", "0.7"}, {"balance_loss", "0.3"}, {"penalty_loss", "0.2"}, {"entropy_loss", "-0.1"}, {"input_noise", "0.2"},
          {"capacity_factor", "0.8"}}},
        {{{"k", "6"}, {"importance_loss", "0.5"}}}}},
  };
  const auto found = table.find(variant);
  return found == table.end() ? std::vector<RouterOptions>{{}} : found->second;
}

/// A router with parameters of its own, drawn larger than in training so that choices are far from ties.
struct RouterUnderTest {
  RouterUnderTest(const routing::RouterVariant& variant, const RouterOptions& options, i64 token_width) : name(variant.name), spec("moe") {
    for (const auto& [key, value] : options.keys) {
      spec.set(key, value);
      name += " " + key + "=" + value;
    }
    router = variant.make({params, "layer/", token_width, options.widths}, spec);
    spec.finish();
    params.allocate();
    std::uint64_t seed = 1000;
    for (const ParamInfo& p : params.infos()) fill_normal(params.slice(p, params.values(p.owner)), seed++, 0.7);
  }

  std::string name;  // variant and options, for messages
  ParamSet params;
  Spec spec;
  std::unique_ptr<routing::Router> router;
};

/// Every registered variant under each of its option sets.
template <class F>
void for_every_router(i64 token_width, F test) {
  for (const routing::RouterVariant& variant : routing::router_variants()) {
    for (const RouterOptions& options : options_of(variant.name)) {
      RouterUnderTest router(variant, options, token_width);
      SCOPED_TRACE(router.name);
      test(router);
    }
  }
}

}  // namespace pleiad::test
