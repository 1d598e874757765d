#include "pleiad/bench/cases.hpp"

#include <algorithm>

#include "pleiad/core/error.hpp"

namespace pleiad::bench {

namespace {

constexpr i64 k_tokens = 4096, k_width = 256;

/// Experts of a standard layer: N of hidden width h, k for each token.
struct Experts {
  std::string name;
  i64 count, hidden, k;
};
const Experts k_layers[] = {{"dense", 1, 1024, 1}, {"8x1024", 8, 1024, 2}, {"64x256", 64, 256, 8}, {"256x64", 256, 64, 16}, {"1024x32", 1024, 32, 16}};

std::vector<std::string> joined(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

/// 4,096 tokens of width 256.
const std::vector<std::string> k_batch = {"model.width=256", "model.layers=1", "model.heads=4", "model.seq_len=512", "train.batch_sequences=8"};

std::vector<std::string> settings_of(const Experts& e) {
  return {"moe.router=topk", fmt::format("moe.experts={}", e.count), fmt::format("moe.expert_width={}", e.hidden), fmt::format("moe.k={}", e.k)};
}

}  // namespace

std::vector<ProductCase> product_cases() {
  using enum ops::Trans;
  std::vector<ProductCase> all = {{"large", "the roof itself", {2048, 2048, 2048}}};
  for (const Experts& e : k_layers) {
    const i64 rows = k_tokens * e.k / e.count;
    all.push_back({e.name + "/in", "rows of each expert into its hidden width", {rows, e.hidden, k_width, no, yes, e.count}});
    all.push_back({e.name + "/d_x", "and back to the width", {rows, k_width, e.hidden, no, no, e.count}});
    all.push_back({e.name + "/d_w", "gradient of the weights of each expert", {e.hidden, k_width, rows, yes, no, e.count}});
  }
  return all;
}

std::vector<ModelCase> layer_cases() {
  std::vector<ModelCase> all;
  for (const Experts& e : k_layers) {
    const std::string experts = e.count == 1 ? fmt::format("1 expert of {}", e.hidden) : fmt::format("{} experts of {}, {} for each token", e.count, e.hidden, e.k);
    all.push_back({e.name, experts, joined(k_batch, settings_of(e))});
  }
  const auto variant = [&](const Experts& e, const std::string& suffix, const std::string& what, const std::string& setting) {
    all.push_back({e.name + suffix, what, joined(joined(k_batch, settings_of(e)), {setting})});
  };
  variant(k_layers[1], "-swiglu", "8 gated experts of 1024, 2 for each token", "moe.activation=swiglu");
  variant(k_layers[1], "-hmoe", "8 experts of geometric widths, 2 for each token", "moe.width_distribution=geometric");
  variant(k_layers[2], "-hmoe", "64 experts of geometric widths, 8 for each token", "moe.width_distribution=geometric");
  for (const Experts& e : k_layers) variant(e, "-bf16", fmt::format("the layer {}, its products in bf16", e.name), "moe.products=bf16");
  all.push_back({"peer-million", "1,048,576 neurons, 8 heads of 16 for each token",
                 joined(k_batch, {"model.seq_len=64", "moe.router=peer", "moe.sub_keys=1024", "moe.heads=8", "moe.k=16"})});
  return all;
}

std::vector<ModelCase> exchange_cases() {
  std::vector<ModelCase> all;
  for (const char* combine : {"home", "owner"}) {
    for (const auto& [experts, k] : {std::pair{8, 2}, std::pair{64, 8}, std::pair{256, 16}}) {
      // How wide the experts are does not matter to the exchange.
      all.push_back({fmt::format("{}-of-{}-{}", k, experts, combine), fmt::format("{} of {} experts for each token, summed {}", k, experts, combine == std::string("home") ? "at home" : "by the owner"),
                     joined(k_batch, {"moe.router=topk", fmt::format("moe.experts={}", experts), "moe.expert_width=1", fmt::format("moe.k={}", k), fmt::format("exchange.combine={}", combine)})});
    }
  }
  return all;
}

std::vector<ModelCase> overlap_cases() {
  std::vector<ModelCase> all;
  for (const char* combine : {"home", "owner"}) {
    for (const Experts& e : {Experts{"", 16, 4096, 2}, Experts{"", 64, 1024, 8}}) {
      all.push_back({fmt::format("{}-of-{}-{}", e.k, e.count, combine), fmt::format("{} of {} experts of {}, summed {}", e.k, e.count, e.hidden, combine == std::string("home") ? "at home" : "by the owner"),
                     joined(joined(k_batch, settings_of(e)), {"exchange.kind=all_to_all", fmt::format("exchange.combine={}", combine)})});
    }
  }
  return all;
}

std::vector<ModelCase> step_cases() {
  const std::vector<std::string> batch = {"model.width=256", "model.layers=4", "model.heads=4", "model.seq_len=256", "train.batch_sequences=16"};
  std::vector<ModelCase> all;
  for (const Experts& e : {k_layers[1], k_layers[2], k_layers[3]}) {
    all.push_back({e.name, fmt::format("4 blocks with {} experts of {}, {} for each token", e.count, e.hidden, e.k), joined(batch, settings_of(e))});
  }
  all.push_back({"small", "2 blocks of width 128 with 8 experts, 2 for each token",
                 {"model.width=128", "model.layers=2", "model.heads=4", "model.seq_len=128", "train.batch_sequences=16", "moe.preset=gshard"}});
  all.push_back({"peer", "2 blocks, one of them with 65,536 neurons, 8 heads of 16 for each token",
                 joined(batch, {"model.layers=2", "moe.layers=1", "moe.router=peer", "moe.sub_keys=256", "moe.heads=8", "moe.k=16"})});
  return all;
}

template <class Case>
std::vector<Case> chosen_cases(const std::string& bench, std::vector<Case> all, const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const Case& c : all) known.push_back(c.name);
  for (const std::string& name : names) {
    if (std::ranges::find(known, name) == known.end()) user_error("--case {}: is no case of bench {}; the cases are {}", name, bench, fmt::join(known, ", "));
  }
  if (!names.empty()) std::erase_if(all, [&](const Case& c) { return std::ranges::find(names, c.name) == names.end(); });
  return all;
}
template std::vector<ProductCase> chosen_cases(const std::string&, std::vector<ProductCase>, const std::vector<std::string>&);
template std::vector<ModelCase> chosen_cases(const std::string&, std::vector<ModelCase>, const std::vector<std::string>&);

}  // namespace pleiad::bench
