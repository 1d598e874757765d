#include "pleiad/exchange/exchanger.hpp"

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/dry_run.hpp"
#include "pleiad/exchange/hierarchical.hpp"
#include "pleiad/exchange/local.hpp"

namespace pleiad::exchange {

ExchangeConfig ExchangeConfig::read(Spec& spec) {
  ExchangeConfig c;
  c.kind = spec.choice("kind", "auto", {"auto", "local", "all_to_all", "hierarchical", "dry_run"}, "how tokens travel; auto: local on one rank, else all_to_all");
  c.combine = spec.choice("combine", "home", {"home", "owner"}, "where the rows of a token's experts are summed") == "home" ? Combine::home : Combine::owner;
  c.pretend_ranks = spec.integer("pretend_ranks", 8, 1, i64{1} << 20, "dry_run: number of ranks whose traffic is counted");
  c.pretend_per_node = spec.integer("pretend_per_node", 1, 1, i64{1} << 20, "dry_run: how many of them share a node");
  c.pretend_kind = spec.choice("pretend_kind", "all_to_all", {"all_to_all", "hierarchical"}, "dry_run: how their tokens would travel") == "hierarchical" ? Kind::hierarchical : Kind::all_to_all;
  return c;
}

std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const comm::Communicator& group) {
  const bool alone = group.size() == 1;
  if ((config.kind == "local" || config.kind == "dry_run") && !alone) {
    user_error("exchange.kind = {}: works on 1 rank per expert group only, here are {}; allowed: auto, all_to_all, hierarchical", config.kind, group.size());
  }
  if (config.kind == "dry_run") {
    return std::make_unique<DryRunExchanger>(NodeLayout::of_size(config.pretend_ranks, config.pretend_per_node), config.combine, config.pretend_kind);
  }
  if (config.kind == "local" || (config.kind == "auto" && alone)) return std::make_unique<LocalExchanger>();
  NodeLayout nodes = nodes_of(group);
  if (config.kind == "hierarchical") return std::make_unique<HierarchicalExchanger>(group, config.combine, std::move(nodes));
  return std::make_unique<AllToAllExchanger>(group, config.combine, std::move(nodes));
}

}  // namespace pleiad::exchange
