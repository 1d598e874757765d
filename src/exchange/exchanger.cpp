#include "pleiad/exchange/exchanger.hpp"

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/dry_run.hpp"
#include "pleiad/exchange/local.hpp"

namespace pleiad::exchange {

ExchangeConfig ExchangeConfig::read(Spec& spec) {
  ExchangeConfig c;
  c.kind = spec.choice("kind", "auto", {"auto", "local", "all_to_all", "dry_run"}, "how tokens travel; auto: local on one rank, else all_to_all");
  c.combine = spec.choice("combine", "home", {"home", "owner"}, "where the rows of a token's experts are summed") == "home" ? Combine::home : Combine::owner;
  c.pretend_ranks = spec.integer("pretend_ranks", 8, 1, i64{1} << 20, "dry_run: number of ranks whose traffic is counted");
  return c;
}

std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const comm::Communicator& group) {
  const bool alone = group.size() == 1;
  if ((config.kind == "local" || config.kind == "dry_run") && !alone) {
    user_error("exchange.kind = {}: works on 1 rank per expert group only, here are {}; allowed: auto, all_to_all", config.kind, group.size());
  }
  if (config.kind == "dry_run") return std::make_unique<DryRunExchanger>(config.pretend_ranks, config.combine);
  if (config.kind == "local" || (config.kind == "auto" && alone)) return std::make_unique<LocalExchanger>();
  return std::make_unique<AllToAllExchanger>(group, config.combine);
}

}  // namespace pleiad::exchange
