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
      {"topp",
       {{{}},
        {{{"p", "0.4"}, {"balance_loss", "0.3"}, {"entropy_loss", "0.2"}, {"input_noise", "0.1"}}},
        {{{"p", "0.8"}, {"penalty_loss", "0.3"}, {"capacity_factor", "1.2"}, {"importance_loss", "0.2"}}},
        {{{"p", "1"}}}}},
      {"threshold",
       {{{}},
        {{{"threshold", "0"}, {"balance_loss", "0.2"}}},
        {{{"threshold", "0.7"}, {"renormalize", "true"}, {"balance_loss", "0.3"}, {"balance_mode", "assignments"}, {"capacity_factor", "1.5"},
          {"capacity_order", "probability"}, {"min_capacity", "4"}}},
        {{{"threshold", "1"}, {"z_loss", "0.1"}}}}},
      {"damoe",
       {{{}},
        {{{"k_rule", "causal"}, {"balance_loss", "0.3"}, {"balance_mode", "tokens"}}},
        {{{"k_rule", "budget"}, {"k_mean", "2.5"}, {"capacity_factor", "1.5"}}},
        {{{"importance", "received"}, {"raw_if_single", "false"}}},
        {{{"importance", "column"}, {"k_max", "3"}, {"k_rule", "budget"}, {"entropy_loss", "0.1"}}}}},
      {"matched_topk",
       {{{}},
        {{{"mean_k", "2.4"}, {"balance_loss", "0.3"}, {"balance_mode", "tokens"}, {"input_noise", "0.1"}}},
        {{{"mean_k", "1.5"}, {"raw_if_single", "false"}, {"capacity_factor", "1.3"}, {"entropy_loss", "0.2"}}},
        {{{"mean_k", "3.7"}, {"renormalize", "false"}, {"importance_loss", "0.3"}, {"eval_capacity", "train"}, {"capacity_factor", "2"}}},
        {{{"mean_k", "6"}}}}},
      {"random_k",
       {{{}},
        {{{"k_histogram", "2,1,0.5"}, {"balance_loss", "0.3"}, {"balance_mode", "assignments"}, {"input_noise", "0.1"}}},
        {{{"k_histogram", "1,0,0,0,0,1"}, {"raw_if_single", "false"}, {"capacity_factor", "1.5"}, {"z_loss", "0.1"}}},
        {{{"k_histogram", "1,2,3,4"}, {"renormalize", "false"}, {"penalty_loss", "0.2"}}}}},
      {"sigmoid_bias",
       {{{}},
        {{{"k", "2"}, {"gate_scale", "2.5"}, {"balance_loss", "0.2"}, {"balance_mode", "tokens"}, {"importance_loss", "0.3"}}},
        {{{"k", "3"}, {"capacity_factor", "0.8"}, {"z_loss", "0.1"}, {"input_noise", "0.1"}}}}},
      {"expert_choice",
       {{{}}, {{{"choices", "1.3"}, {"balance_loss", "0.2"}, {"balance_mode", "tokens"}}}, {{{"choice_group", "position"}, {"importance_loss", "0.2"}}}}},
      {"peer",
       {{{{"sub_keys", "3"}, {"heads", "2"}, {"k", "3"}, {"query_dim", "4"}}, std::vector<i64>(9, 1)},
        {{{"sub_keys", "4"}, {"heads", "3"}, {"k", "5"}, {"query_dim", "6"}, {"shared_keys", "false"}, {"batch_norm", "false"}}, std::vector<i64>(16, 1)},
        {{{"sub_keys", "4"}, {"heads", "3"}, {"k", "2"}, {"query_dim", "4"}, {"active_heads", "attention"}, {"k_rule", "causal"}}, std::vector<i64>(16, 1)},
        {{{"sub_keys", "2"}, {"heads", "1"}, {"k", "1"}, {"query_dim", "2"}, {"bn_eps", "0.01"}}, std::vector<i64>(4, 1)}}},
      {"pkm", {{{{"sub_keys", "5"}, {"heads", "2"}, {"k", "4"}, {"query_dim", "4"}, {"shared_keys", "false"}}, std::vector<i64>(25, 1)}}},
      {"hash", {{{}}, {{{"k", "3"}, {"hash_seed", "8"}}}}},
      {"random", {{{}}, {{{"k", "4"}}}}},
  };
  const auto found = table.find(variant);
  return found == table.end() ? std::vector<RouterOptions>{{}} : found->second;
}

/// What some routers look at beside the tokens: causal attention maps of two heads, and token numbers; functions of the global
/// place, so the same on any number of ranks. Must outlive the contexts made with it.
class Surroundings {
 public:
  explicit Surroundings(const LaneLayout& lanes) {
    const i64 length = lanes.seq_len(), sequences = lanes.my_sequences().count;
    attention_.resize(sequences * k_heads * length, length);
    const Stream draw(31, Purpose::test);
    for (i64 row = 0; row < attention_.rows(); ++row) {
      const i64 global = lanes.my_sequences().begin * k_heads * length + row, seen = row % length + 1;
      double sum = 0;
      for (i64 j = 0; j < seen; ++j) sum += attention_(row, j) = static_cast<real>(std::exp(2 * draw.normal(static_cast<std::uint64_t>(global * length + j))));
      for (i64 j = 0; j < seen; ++j) attention_(row, j) /= static_cast<real>(sum);
    }
    for (i64 t = 0; t < lanes.my_tokens(); ++t) {
      token_ids_.push_back(static_cast<std::int32_t>(draw.below(static_cast<std::uint64_t>(1'000'000 + lanes.first_token() + t), 50)));
    }
  }
  routing::RoutingContext context(const comm::Communicator& world, const LaneLayout& lanes, std::uint64_t seed, i64 layer, i64 step, bool training) const {
    routing::RoutingContext c{world, lanes, seed, layer, step, training};
    c.attention = {attention_, k_heads};
    c.token_ids = token_ids_;
    return c;
  }

 private:
  static constexpr i64 k_heads = 2;
  Matrix attention_;
  std::vector<std::int32_t> token_ids_;
};

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
    for (const ParamInfo& p : params.infos()) {
      const std::span<real> values = params.slice(p, params.values(p.owner));
      fill_normal(values, seed++, 0.7);
      if (p.name.ends_with("_var")) {
        for (real& v : values) v = std::abs(v) + real(0.3);
      }
    }
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
