#include "pleiad/exchange/choice.hpp"

#include <algorithm>

#include "pleiad/exchange/all_to_all.hpp"
#include "pleiad/exchange/chunks.hpp"
#include "pleiad/exchange/dry_run.hpp"
#include "pleiad/exchange/hierarchical.hpp"
#include "pleiad/exchange/local.hpp"

namespace pleiad::exchange {

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::all_to_all: return "all_to_all";
    case Kind::hierarchical: return "hierarchical";
    case Kind::gather: return "gather";
  }
  return "";
}

Kind kind_of(const std::string& name) {
  for (const Kind kind : {Kind::hierarchical, Kind::gather}) {
    if (name == name_of(kind)) return kind;
  }
  return Kind::all_to_all;
}

namespace {

void require_owner(const std::string& key, const std::string& kind, Combine combine) {
  if (kind == "gather" && combine == Combine::home) {
    user_error("exchange.{} = gather: adds up results before they go home, which needs exchange.combine = owner, not home", key);
  }
}

}  // namespace

ExchangeConfig ExchangeConfig::read(Spec& spec) {
  ExchangeConfig c;
  c.kind = spec.choice("kind", "auto", {"auto", "local", "all_to_all", "hierarchical", "gather", "dry_run"},
                       "how tokens travel: all_to_all: each rank with each; hierarchical: once per node; gather: all to all ranks; auto: local on one rank, else what takes least by a model measured "
                       "at the start (with combine = home all give the same bits; gather needs combine = owner)");
  c.combine = spec.choice("combine", "home", {"home", "owner"}, "where the rows of a token's experts are summed") == "home" ? Combine::home : Combine::owner;
  c.pretend_ranks = spec.integer("pretend_ranks", 8, 1, i64{1} << 20, "dry_run: number of ranks whose traffic is counted");
  c.pretend_per_node = spec.integer("pretend_per_node", 1, 1, i64{1} << 20, "dry_run: how many of them share a node");
  c.pretend_kind = kind_of(spec.choice("pretend_kind", "all_to_all", {"all_to_all", "hierarchical", "gather"}, "dry_run: how their tokens would travel"));
  const std::string chunks = spec.text("chunks", "auto", "parts in which rows travel while experts work, groups of the experts of a rank (peer, pkm: of tokens), 1 to 64; auto: by the model. The bits do not depend on it");
  if (chunks != "auto") c.chunks = Spec("exchange", {{"chunks", chunks}}).integer("chunks", 1, 1, k_most_chunks, "or auto");
  require_owner("kind", c.kind, c.combine);
  if (c.kind == "dry_run") require_owner("pretend_kind", name_of(c.pretend_kind), c.combine);
  return c;
}

bool goes_in_chunks(Kind kind, ChunksOf chunks_of) { return kind == Kind::all_to_all || kind == (chunks_of == ChunksOf::tokens ? Kind::gather : Kind::hierarchical); }

ExchangeChoice choose_exchange(const ExchangeConfig& config, const comm::Communicator& group, const ExchangeLoad& load) {
  const bool alone = group.size() == 1, only_alone = config.kind == "local" || config.kind == "dry_run";
  if (only_alone && !alone) {
    user_error("exchange.kind = {}: works on 1 rank per expert group only, here are {}; allowed: auto, all_to_all, hierarchical, gather", config.kind, group.size());
  }
  const std::string kind = config.kind == "dry_run" ? name_of(config.pretend_kind) : config.kind;
  if (config.chunks > 1 && kind != "auto" && (kind == "local" || !goes_in_chunks(kind_of(kind), load.chunks_of))) {
    user_error("exchange.chunks = {}: only exchange.kind = all_to_all travels in chunks, and gather for peer and pkm, hierarchical for all others; not {}", config.chunks, kind);
  }
  ExchangeChoice choice;
  choice.chunks_of = load.chunks_of;
  choice.kind = config.kind == "auto" && alone ? "local" : config.kind;
  if (only_alone || choice.kind == "local") return choice;
  choice.nodes = nodes_of(group);
  choice.chunks = std::max<i64>(config.chunks, 1);
  const bool by_model = config.kind == "auto" || (goes_in_chunks(kind_of(config.kind), load.chunks_of) && config.chunks == 0);
  if (config.kind == "auto") choice.kind = choice.nodes.nodes() == group.size() ? "all_to_all" : "hierarchical";
  if (!goes_in_chunks(kind_of(choice.kind), load.chunks_of)) choice.chunks = 1;
  if (load.tokens == 0 || !by_model) return choice;
  choice.machine = measure_machine(group, choice.nodes);
  choice.predictions = predict(choice.machine, choice.nodes, load, config.combine);
  if (config.kind == "auto") choice.kind = name_of(choice.predictions.front().kind);
  if (config.chunks == 0) choice.chunks = best_chunks(choice.machine, choice.nodes, load, config.combine, kind_of(choice.kind));
  if (!goes_in_chunks(kind_of(choice.kind), load.chunks_of)) choice.chunks = 1;
  return choice;
}

std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const ExchangeChoice& choice, const comm::Communicator& group) {
  if (choice.kind == "local") return std::make_unique<LocalExchanger>();
  if (choice.kind == "dry_run") {
    return std::make_unique<DryRunExchanger>(NodeLayout::of_size(config.pretend_ranks, config.pretend_per_node), config.combine, config.pretend_kind,
                                             std::max<i64>(config.chunks, 1), choice.chunks_of);
  }
  if (choice.kind == "hierarchical") return std::make_unique<HierarchicalExchanger>(group, config.combine, choice.nodes, choice.chunks);
  return std::make_unique<AllToAllExchanger>(group, config.combine, choice.nodes, choice.kind == "gather" ? Reach::all : Reach::needed, choice.chunks, choice.chunks_of);
}

std::unique_ptr<Exchanger> make_exchanger(const ExchangeConfig& config, const comm::Communicator& group, const ExchangeLoad& load) {
  return make_exchanger(config, choose_exchange(config, group, load), group);
}

std::string ExchangeChoice::in_words() const {
  std::string words = kind;
  if (kind == "local" || kind == "dry_run") return words;
  if (chunks > 1) words += fmt::format(" in {} chunks", chunks);
  words += fmt::format(", {} rank{} on {} node{}", nodes.ranks(), nodes.ranks() == 1 ? "" : "s", nodes.nodes(), nodes.nodes() == 1 ? "" : "s");
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    words += fmt::format("{}{} {:.3f} ms", i == 0 ? "; predicted for a layer, forward: " : ", ", name_of(predictions[i].kind), 1e3 * predictions[i].seconds);
  }
  if (predictions.empty()) return words;
  const auto link = [](const LinkCost& cost) {
    return fmt::format("{:.1f} us and {:.1f} MB/s", 1e6 * cost.per_message, cost.per_byte > 0 ? 1e-6 / cost.per_byte : 0);
  };
  words += "; measured: ";
  if (nodes.nodes() < nodes.ranks()) words += fmt::format("in a node {}, ", link(machine.within));
  if (nodes.nodes() > 1) words += fmt::format("between nodes {}, ", link(machine.between));
  return words + fmt::format("copying {:.1f} GB/s", 1e-9 / machine.per_copied_byte);
}

}  // namespace pleiad::exchange
